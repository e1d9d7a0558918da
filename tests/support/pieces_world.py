"""Builds a base on disk, a dataset of target users, and a pool of sharers, for tests of pieces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect import api
from idiolect.adapters.lora import LoraConfig
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.write import write_dataset
from idiolect.models.load import load_base
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig, RecipeConfig
from support.sharers import LORA, make_contribution
from support.tiny_people import make_rater, save_tiny_base

PEOPLE = ("ann", "bob", "cyd")
CONFIG = RecipeConfig(assemble=AssembleConfig(by="gates", top_k=2), dtype="float32", device="cpu")
ASKED = "Film 3 (1990), Drama"


def make_unanswered(person: str, count: int) -> History:
    """A person who saw films and rated none."""
    items = [
        Interaction(id=f"{person}-{n}", position=n, time=86_400.0 * n, fields={"title": f"F {n}"})
        for n in range(count)
    ]
    return History.from_interactions(person, items)


@dataclass(frozen=True)
class PiecesWorld:
    """A folder with ``base``, ``data`` and ``pool``; recipes go into ``recipes``."""

    folder: Path

    @property
    def base(self) -> Path:
        return self.folder / "base"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def pool(self) -> Path:
        return self.folder / "pool"

    @property
    def recipes(self) -> Path:
        return self.folder / "recipes"

    def assemble(self, **options: Any) -> Any:
        """Assembles all people of the dataset; ``options`` override the defaults of the request."""
        given: dict[str, Any] = {"config": CONFIG} | options
        return api.assemble(
            api.AssembleRequest(data=self.data, pool=self.pool, out=self.recipes, **given)
        )


def build_pieces_world(folder: Path, *, sharers: int = 4, lora: LoraConfig = LORA) -> PiecesWorld:
    """Creates three people who rated films, one who rated none, and one without any item."""
    place = PiecesWorld(folder)
    base = save_tiny_base(place.base)
    write_people(place.data, *(make_rater(p, 6 + n) for n, p in enumerate(PEOPLE)))
    pool = Pool.create(
        place.pool, base, source=str(place.base), task="rating", lora=lora, settings={}
    )
    with pool.lock_for_writing():
        pool.add_sharers([make_contribution(pool, base, n) for n in range(sharers)])
    return place


def write_people(folder: Path, *histories: History) -> None:
    """Writes a dataset of these people, and of two people without any usable item."""
    everyone = [*histories, make_unanswered("dee", 3), History("eve", ())]
    write_dataset(folder, everyone, task="rating", source="made up", overwrite=True)


def load_pieces_base(place: PiecesWorld) -> Any:
    return load_base(place.base, dtype="float32", device="cpu")
