"""A folder with donors who agreed, their basis, and people to train privately."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from idiolect import api
from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.store.store import AdapterStore
from idiolect.history.write import write_dataset
from idiolect.models.base import Base
from idiolect.models.load import load_base
from idiolect.training.private.config import PrivateConfig
from idiolect.training.schedule import TrainConfig
from support.tiny_people import UNGATED, make_rater, save_tiny_base

DONORS = ("d0", "d1", "d2", "d3", "d4", "d5", "d6")
NEW = ("ann", "bob")
SHARED = replace(
    UNGATED, lora=LoraConfig(rank=2, alpha=4.0, shared_a=True, targets=("q_proj", "v_proj"))
)
PRIVATE = replace(
    UNGATED,
    lora=LoraConfig(),
    train=TrainConfig(),
    private=PrivateConfig(least_records=8, steps=2),
)
"""The basis sets the LoRA configuration, and training has steps of its own."""


@dataclass(frozen=True)
class PrivateWorld:
    """Paths, and the calls with usual arguments."""

    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "donors"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def basis(self) -> Path:
        return self.folder / "basis"

    @cached_property
    def base(self) -> Base:
        return load_base(self.folder / "base", dtype="float32", device="cpu")

    def make_mean(self, out: Path, **options: Any) -> Any:
        given: dict[str, Any] = {"store": self.store, "data": self.data, "people": DONORS} | options
        return api.mean(api.MeanRequest(out=out, **given))

    def train(self, store: Path, **options: Any) -> Any:
        given: dict[str, Any] = {
            "data": self.data,
            "store": store,
            "base": str(self.folder / "base"),
            "config": PRIVATE,
            "people": NEW,
            "start": self.basis,
            "private": 8.0,
        }
        return api.personalize(api.PersonalizeRequest(**(given | options)))

    def open_store(self, store: Path) -> AdapterStore:
        return AdapterStore.open(store)


def build_private_world(folder: Path) -> PrivateWorld:
    """Train the donors, record their consent, and make a basis of three directions."""
    world = PrivateWorld(folder)
    save_tiny_base(folder / "base")
    # Donors have queries, so that the audit has items outside of training.
    people = [make_rater(name, 16).hold_out(4) for name in DONORS]
    people += [make_rater("ann", 9), make_rater("bob", 12), make_rater("cy", 7)]
    write_dataset(world.data, people, task="rating", source="made up", name="films")
    api.personalize(
        api.PersonalizeRequest(
            data=world.data,
            store=world.store,
            base=str(folder / "base"),
            config=SHARED,
            people=DONORS,
        )
    )
    api.consent(api.ConsentRequest(store=world.store, people=DONORS, scope="mean"))
    world.make_mean(world.basis, directions=3)
    return world
