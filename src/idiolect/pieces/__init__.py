"""Personalized pieces: sharers' adapters cut into gated pieces, pooled, and put together anew."""

from idiolect.pieces.pool import Pool, Shared, pseudonym, share_sites
from idiolect.pieces.recipe import Recipe, materialise
from idiolect.pieces.recipe_shard import RecipeRecord
from idiolect.pieces.recipe_store import RecipeStore

__all__ = [
    "Pool",
    "Recipe",
    "RecipeRecord",
    "RecipeStore",
    "Shared",
    "materialise",
    "pseudonym",
    "share_sites",
]
