"""``mean``: how few people, bounds, noise, the audit, and its override."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect import api
from idiolect.adapters.arithmetic.directions import AdapterBasis, flatten_b
from idiolect.adapters.formats.basis import DIRECTIONS_FILE, load_basis
from idiolect.adapters.formats.peft import load_peft
from idiolect.adapters.lora import LoraAdapter, LoraConfig, require_lora
from idiolect.audit.subject import AuditSubject
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.pieces.means import audit as audit_module
from idiolect.pieces.means.clipping import clip_updates, make_private_mean
from idiolect.privacy.ledger import Ledger
from idiolect.prompts.context import ContextConfig, PersonContext
from idiolect.prompts.render import PromptRenderer
from idiolect.storage.manifest import Manifest
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig
from support.private_basis import SHARED_LORA, make_donors, make_noise_source
from support.private_world import DONORS, PrivateWorld, build_private_world
from support.random_adapters import random_adapter
from support.tiny_people import RATING, make_rater

pytestmark = pytest.mark.finding("mean-of-few")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> PrivateWorld:
    return build_private_world(tmp_path_factory.mktemp("means"))


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base(dtype=torch.float64)


@pytest.mark.parametrize("people", [DONORS[:1], DONORS[:4], DONORS[:2] * 3])
def test_mean_refuses_fewer_than_five_people(
    world: PrivateWorld, tmp_path: Path, people: tuple[str, ...]
) -> None:
    before = Ledger(world.store / "ledger").read_entries()
    given = len({*people})
    with pytest.raises(UsageError, match=rf"people for a mean: {given}; name at least 5 people"):
        world.make_mean(tmp_path / "out", people=people)
    assert not (tmp_path / "out").exists()
    assert Ledger(world.store / "ledger").read_entries() == before


def test_mean_of_few_cannot_be_overridden(world: PrivateWorld, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least 5 people"):
        world.make_mean(tmp_path / "out", people=DONORS[:1], override_leakage="I want it")


def test_mean_needs_dataset_for_audit(world: PrivateWorld, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--data"):
        world.make_mean(tmp_path / "out", data=None)
    with pytest.raises(UsageError, match="1 to 300 characters"):
        world.make_mean(tmp_path / "out", data=None, override_leakage=" ")
    done = world.make_mean(tmp_path / "out", data=None, override_leakage="made up")
    assert set(done.leaking) == set(DONORS)


def test_mean_bounds_each_update_and_records_it(world: PrivateWorld, tmp_path: Path) -> None:
    done = world.make_mean(tmp_path / "out")
    assert done.clipped == 3 and done.clip > 0  # the median of seven norms
    assert Manifest.load(tmp_path / "out", "adapter").config["clip"] == done.clip
    mean = require_lora(load_peft(tmp_path / "out", world.base))
    assert measure(mean) <= done.clip * (1 + 1e-5)
    assert not (tmp_path / "out" / DIRECTIONS_FILE).exists()


def measure(adapter: LoraAdapter) -> float:
    """The norm of all updates, by the definition."""
    updates = [b.double() @ a.double() for a, b in adapter.pairs.values()]
    return adapter.config.scale * float(torch.cat([u.flatten() for u in updates]).norm())


def test_clip_updates_keeps_direction_of_outlier(base: Base) -> None:
    """Without a bound, one person with a large update makes the mean theirs."""
    donors = [
        random_adapter(base, LoraConfig(rank=2, targets=("q_proj", "v_proj")), seed=s)
        for s in range(5)
    ]
    loud = replace(donors[0], pairs={p: (a, 1000 * b) for p, (a, b) in donors[0].pairs.items()})
    some, bound, clipped = clip_updates([loud, *donors[1:]], None)
    assert max(map(measure, some)) <= bound * (1 + 1e-9) and clipped == 2
    first = flatten_b(some[0]) / flatten_b(donors[0])
    assert torch.allclose(first, first[0].expand_as(first))
    assert clip_updates(donors, 1e9)[2] == 0


def test_make_private_mean_adds_calibrated_noise(base: Base) -> None:
    donors = make_donors(base, 6)
    noisy = make_private_mean(donors, 0.5, 3.0, make_noise_source(1))
    rows = torch.stack([flatten_b(one) for one in donors]).double()
    shortened = rows * (0.5 / rows.norm(dim=1, keepdim=True)).clamp_max(1)
    added = (flatten_b(noisy.mean) - shortened.mean(dim=0)) * 6
    expected = make_noise_source(1)(len(added), 3.0 * 0.5)
    assert torch.allclose(added, expected) and noisy.clipped == 6
    assert noisy.noise_share == pytest.approx(3.0 * len(added) ** 0.5 / 6)


def test_private_mean_one_person_changes_sum_by_clip_at_most(base: Base) -> None:
    donors = make_donors(base, 6)
    whole = flatten_b(make_private_mean(donors, 0.5, 1.0, no_noise).mean) * 6
    for n in range(6):
        rest = make_private_mean([*donors[:n], *donors[n + 1 :]], 0.5, 1.0, no_noise)
        assert float((whole - flatten_b(rest.mean) * 5).norm()) <= 0.5 * (1 + 1e-9)


def no_noise(count: int, deviation: float) -> torch.Tensor:
    return torch.zeros(count, dtype=torch.float64)


def test_private_mean_says_what_it_promises(world: PrivateWorld, tmp_path: Path) -> None:
    done = world.make_mean(tmp_path / "out", private=8.0, override_leakage="mostly noise")
    assert done.privacy.unit == "person" and done.privacy.epsilon == 8.0
    assert "all other people" in done.privacy.sentence and done.noise_share > 1
    config = Manifest.load(tmp_path / "out", "adapter").config
    assert config["privacy"]["multiplier"] == done.privacy.multiplier and config["clip"] == 3.0
    with pytest.raises(UsageError, match="exclude each other"):
        world.make_mean(tmp_path / "other", private=8.0, directions=2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"private": 0.0}, "private"), ({"clip": float("inf")}, "clip"), ({"directions": -1}, "dir")],
)
def test_mean_request_refuses_bad_numbers(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        api.MeanRequest(store=Path("s"), people=["a"], out=Path("o"), **fields)


def test_basis_on_disk_is_what_was_computed(world: PrivateWorld, tmp_path: Path) -> None:
    done = world.make_mean(tmp_path / "out", directions=3)
    basis = load_basis(tmp_path / "out", world.base)
    assert done.directions == basis.count == 3 and basis.mean.config.shared_a
    with pytest.raises(UsageError, match="4 of 7 people"):
        world.make_mean(tmp_path / "more", directions=4)


def test_audit_refuses_basis_that_can_make_a_persons_adapter(base: Base) -> None:
    """The mean alone hides a person who learned items by heart, but a direction is theirs."""
    examples = [make_examples(base, n) for n in range(2)]
    job = TrainingJob(person="ann", examples=examples[0])
    learned = train_one(base, job, SHARED_LORA, TrainConfig(rate=0.05, epochs=30, batch=4)).adapter
    silent = replace(learned, pairs={p: (a, 0 * b) for p, (a, b) in learned.pairs.items()})
    direction = flatten_b(learned)[None].float()
    subject = AuditSubject(person="ann", members=examples[0], non_members=examples[1])
    basis = AdapterBasis(mean=silent, directions=direction)
    found = audit_module._measure_leaks(base, [subject], {"ann": learned}, basis)
    assert found == {"ann": "the directions: leaks"}
    assert audit_module._measure_leaks(base, [subject], {"ann": learned}, silent) == {}


def make_examples(base: Base, part: int) -> Any:
    """Ratings of films: all 5 in the first part, all 1 in the second."""
    history = make_rater(f"ann{part}", 14, rated=lambda n: 1 if part else 5)
    context = PersonContext(history, RATING, PromptRenderer(base.tokenizer), ContextConfig())
    return tuple(context.build_item_example(n) for n in range(14))


def test_mean_refused_by_audit_writes_nothing_unless_overridden(
    world: PrivateWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idiolect.pieces.means.run.audit_mean", lambda *_: {"d3": "leaks"})
    before = Ledger(world.store / "ledger").read_entries()
    with pytest.raises(UsageError, match=r"because of d3 \(leaks\).*--override-leakage"):
        world.make_mean(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert Ledger(world.store / "ledger").read_entries() == before
    done = world.make_mean(tmp_path / "out", override_leakage="all of them saw it")
    assert done.leaking == ("d3",)
    event = Ledger(world.store / "ledger").read_entries_of("d3")[-1]
    assert event.details["overridden"] == "all of them saw it"
