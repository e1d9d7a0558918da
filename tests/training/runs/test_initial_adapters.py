"""Training from the mean of other people's adapters: consent, use, and checks."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from idiolect import api
from idiolect.adapters.arithmetic.mean import average_adapters
from idiolect.adapters.formats.peft import WEIGHTS_FILE, load_peft
from idiolect.adapters.lora import require_lora
from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import MismatchError, MissingError, UsageError
from idiolect.history.write import write_dataset
from idiolect.models.base import Base
from idiolect.models.load import load_base
from idiolect.privacy.ledger import Ledger
from idiolect.storage.files import sha256_file
from idiolect.storage.manifest import Manifest
from idiolect.training.runs.request import PersonalizeRequest
from idiolect.training.runs.run import PersonalizeRun, set_start_adapter
from idiolect.training.runs.summary import PersonalSummary
from support.tiny_people import UNGATED, make_rater, save_tiny_base

OTHERS = ("ann", "ben", "cem", "dee", "eva")


class Place:
    """A base, people with adapters, a new person, and the mean of the others' adapters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        save_tiny_base(folder / "base")
        self.base = str(folder / "base")
        self.data, self.store, self.mean = folder / "data", folder / "store", folder / "mean"
        people = [make_rater(name, 12) for name in (*OTHERS, "fay", "new")]
        write_dataset(self.data, people, task="rating", source="test", name="films")
        api.personalize(
            api.PersonalizeRequest(
                data=self.data,
                store=self.store,
                base=self.base,
                config=UNGATED,
                people=(*OTHERS, "fay"),
            )
        )
        api.consent(api.ConsentRequest(store=self.store, people=(*OTHERS, "fay"), scope="mean"))
        self.make_mean(self.store, OTHERS, self.mean)

    @staticmethod
    def make_mean(store: Path, people: Sequence[str], out: Path) -> None:
        """Make a mean with a bound that shortens no one, without an audit."""
        api.mean(
            api.MeanRequest(
                store=store, people=people, out=out, clip=1e9, override_leakage="made up"
            )
        )

    @property
    def loaded_base(self) -> Base:
        return load_base(self.base, dtype="float32", device="cpu")

    def train(self, store: str, start: Path | None) -> PersonalSummary:
        """Train the new person into their own store, with too small a rate to change the
        adapter."""
        config = replace(UNGATED, train=replace(UNGATED.train, rate=1e-12))
        folder = self.folder / store
        return api.personalize(
            api.PersonalizeRequest(
                data=self.data,
                store=folder,
                base=self.base,
                config=config,
                people=["new"],
                start=start,
            )
        )

    def train_new_person(self, store: str, start: Path | None) -> AdapterStore:
        """Train the new person and open the store."""
        self.train(store, start)
        return AdapterStore.open(self.folder / store)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("start"))


def test_mean_averages_adapters_and_records_their_number(place: Place) -> None:
    store = AdapterStore.open(place.store)
    adapters = [store.get_adapter(person) for person in OTHERS]
    expected = average_adapters([require_lora(a) for a in adapters if a is not None])
    found = require_lora(load_peft(place.mean, place.loaded_base))
    for path, (a, b) in expected.pairs.items():
        assert torch.allclose(found.pairs[path][1] @ found.pairs[path][0], b @ a, atol=1e-6)
    assert Manifest.load(place.mean, "adapter").config["mean_of"] == len(OTHERS)


def test_personalize_starts_from_mean_and_records_it(place: Place) -> None:
    started = place.train_new_person("started", place.mean)
    fresh = place.train_new_person("fresh", None)
    mean = require_lora(load_peft(place.mean, place.loaded_base))
    ours, plain = started.get_adapter("new"), fresh.get_adapter("new")
    assert ours is not None
    assert plain is not None
    ours, plain = require_lora(ours), require_lora(plain)
    for path, (a, b) in mean.pairs.items():
        assert torch.allclose(ours.pairs[path][0], a, atol=1e-9)
        assert torch.allclose(ours.pairs[path][1], b, atol=1e-9)
        assert not torch.allclose(plain.pairs[path][0], a, atol=1e-3)
    assert started.settings["start"] == sha256_file(place.mean / WEIGHTS_FILE)
    assert fresh.settings["start"] == ""


def test_personalize_with_other_start_trains_again(place: Place) -> None:
    place.train("again", place.mean)
    assert place.train("again", place.mean).unchanged == ("new",)
    assert place.train("again", None).trained == ("new",)


def test_personalize_refuses_unusable_start(place: Place, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no adapter in PEFT's format"):
        place.train_new_person("x1", tmp_path)
    wider = replace(UNGATED, lora=replace(UNGATED.lora, rank=4))
    with pytest.raises(MismatchError, match="cannot be the start for"):
        api.personalize(
            api.PersonalizeRequest(
                data=place.data,
                store=tmp_path / "x2",
                base=place.base,
                config=wider,
                start=place.mean,
            )
        )
    named = set_start_adapter(UNGATED, place.mean)
    with pytest.raises(UsageError, match="--start"):
        PersonalizeRun(
            PersonalizeRequest(
                data=place.data, store=tmp_path / "x3", base=place.base, config=named
            )
        )
    assert not any(tmp_path.iterdir())


def test_mean_needs_consent_of_all_people_and_writes_ledger(place: Place, tmp_path: Path) -> None:
    ledger = Ledger(place.store / "ledger")
    shared = [e for e in ledger.read_entries() if e.event == "shared"]
    assert sorted(e.who for e in shared) == sorted(ledger.read_entries_of(p)[0].who for p in OTHERS)
    details = {
        "scope": "mean",
        "of": len(OTHERS),
        "sha256": sha256_file(place.mean / WEIGHTS_FILE),
        "overridden": "made up",
    }
    assert all(e.details == details for e in shared)
    # Without consent of one person the mean is refused, and the ledger is unchanged.
    store, others = tmp_path / "store", ("ann", "cem", "dee", "eva", "fay")
    shutil.copytree(place.store, store)
    api.consent(api.ConsentRequest(store=store, people=["ben"], scope="mean", revoke=True))
    api.consent(api.ConsentRequest(store=store, people=["ben"], scope="pieces"))
    before = Ledger(store / "ledger").read_entries()
    with pytest.raises(MissingError, match=r"scope 'mean' of 'ben' \(revoked on"):
        place.make_mean(store, OTHERS, tmp_path / "out")
    with pytest.raises(UsageError, match="already exists"):
        place.make_mean(store, others, place.mean)
    assert not (tmp_path / "out").exists()
    assert Ledger(store / "ledger").read_entries() == before
    place.make_mean(store, others, tmp_path / "out")
    assert [e.event for e in Ledger(store / "ledger").read_entries_of("ben")].count("shared") == 1


def test_mean_refuses_empty_or_unknown_people(place: Place, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 5 people"):
        place.make_mean(place.store, (), tmp_path / "out")
    with pytest.raises(MissingError, match="nobody"):
        place.make_mean(place.store, ("ann", "nobody"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
