"""Personalized pieces: sharers' adapters cut into gated pieces, pooled, and put together anew."""
