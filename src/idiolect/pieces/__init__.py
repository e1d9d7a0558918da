"""Personalized pieces (Per-Pcs): sharers' adapters are split into gated pieces, pooled, and
assembled into adapters for target users."""
