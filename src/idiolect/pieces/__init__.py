"""Personalized pieces: sharers' adapters cut into gated pieces, pooled, and put together anew."""

from idiolect.pieces.assemble import assemble
from idiolect.pieces.assemble_single import assemble_one
from idiolect.pieces.pool import Pool, Shared, pseudonym, share_sites
from idiolect.pieces.recipe import Recipe, materialise
from idiolect.pieces.recipe_shard import RecipeRecord
from idiolect.pieces.recipe_store import RecipeStore
from idiolect.pieces.settings import AssembleConfig

__all__ = [
    "AssembleConfig",
    "Pool",
    "Recipe",
    "RecipeRecord",
    "RecipeStore",
    "Shared",
    "assemble",
    "assemble_one",
    "materialise",
    "pseudonym",
    "share_sites",
]
