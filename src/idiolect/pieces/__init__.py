"""Personalized pieces: sharers' adapters cut into gated pieces, pooled, and put together anew."""

from idiolect.pieces.assemble import assemble
from idiolect.pieces.assemble_single import assemble_one
from idiolect.pieces.gates import GatesConfig, train_gates
from idiolect.pieces.pool import Pool
from idiolect.pieces.recipe import Recipe, materialise
from idiolect.pieces.recipe_shard import RecipeRecord
from idiolect.pieces.recipe_store import RecipeStore
from idiolect.pieces.settings import AssembleConfig
from idiolect.pieces.shared import Shared, pseudonym, share_sites
from idiolect.pieces.sharers import Sharer, SharersConfig, select_sharers
from idiolect.pieces.sharing import ShareConfig

__all__ = [
    "AssembleConfig",
    "GatesConfig",
    "Pool",
    "Recipe",
    "RecipeRecord",
    "RecipeStore",
    "ShareConfig",
    "Shared",
    "Sharer",
    "SharersConfig",
    "assemble",
    "assemble_one",
    "materialise",
    "pseudonym",
    "select_sharers",
    "share_sites",
    "train_gates",
]
