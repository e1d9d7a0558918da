"""Personalized pieces: sharers' adapters cut into gated pieces, pooled, and put together anew."""

from idiolect.pieces.pool import Pool, Shared, pseudonym, share_sites

__all__ = ["Pool", "Shared", "pseudonym", "share_sites"]
