"""Memorized items are detected, untrained adapters pass, and false alarms are rare."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from idiolect.adapters.lora import LoraAdapter, LoraConfig, init_lora
from idiolect.audit.attacks import Artifacts, audit_artifacts
from idiolect.audit.config import LeakageConfig
from idiolect.audit.membership import MembershipResult, evaluate
from idiolect.audit.subject import AuditSubject
from idiolect.audit.traces import TokenLosses, compute_token_losses
from idiolect.errors import IntegrityError, MismatchError, UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.render import Example
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig
from support.tiny_people import random_adapter

LORA = LoraConfig(rank=4, alpha=8.0, targets=("q_proj", "v_proj"))
MEMORIZING = TrainConfig(rate=0.02, epochs=40, batch=4, weight_decay=0.0)


def draw_items(seed: int, count: int) -> tuple[Example, ...]:
    """Draw random prompts of 6 to 12 tokens with random answers of 3, so that items do not predict
    each other."""
    draw = random.Random(seed)
    return tuple(
        Example(tuple(draw.randrange(200) for _ in range(size)), size - 3)
        for size in (draw.randint(9, 15) for _ in range(count))
    )


def make_subject(person: str, seed: int, inside: int = 10, outside: int = 8) -> AuditSubject:
    drawn = draw_items(seed, inside + outside)
    return AuditSubject(person=person, members=drawn[:inside], non_members=drawn[inside:])


def memorize(base: Base, one: AuditSubject) -> LoraAdapter:
    job = TrainingJob(person=one.person, examples=tuple(one.members))
    return train_one(base, job, LORA, MEMORIZING).adapter


def scale_update(
    adapter: LoraAdapter, size: float, only: Sequence[str] | None = None
) -> LoraAdapter:
    """Multiply the update by ``size``; with ``only``, set it to zero at all other modules."""
    pairs = {
        path: (a, b * size if only is None or path in only else torch.zeros_like(b))
        for path, (a, b) in adapter.pairs.items()
    }
    return replace(adapter, pairs=pairs)


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


@pytest.fixture(scope="module")
def memorized(base: Base) -> tuple[AuditSubject, LoraAdapter]:
    """A person, and an adapter that has memorized their held-in items."""
    ann = make_subject("ann", 1)
    return ann, memorize(base, ann)


def audit_one(base: Base, one: AuditSubject, adapter: LoraAdapter | None) -> MembershipResult:
    return audit_many(base, [one], {"adapter": {one.person: adapter}})["adapter"][one.person]


def audit_many(
    base: Base,
    subjects: Sequence[AuditSubject],
    artifacts: Artifacts,
    config: LeakageConfig | None = None,
    **options: int,
) -> dict[str, dict[str, MembershipResult]]:
    """The membership attack alone."""
    found = audit_artifacts(base, subjects, artifacts, config, compared=artifacts, **options)
    return {
        name: {person: result.membership for person, result in people.items()}
        for name, people in found.items()
    }


def test_audit_membership_refuses_memorized_items(
    base: Base, memorized: tuple[AuditSubject, LoraAdapter]
) -> None:
    found = audit_one(base, *memorized)
    assert (found.verdict, found.refused) == ("leaks", True)
    assert found.calibrated is not None and found.calibrated.auc > 0.95
    assert found.calibrated.two_sided_interval[0] > 0.7 and found.calibrated.p < 1e-3
    assert found.loss_in is not None and found.loss_out is not None
    assert found.loss_in < found.loss_out - 0.5
    assert (found.held_in, found.held_out) == (10, 8)


def test_audit_membership_detects_negated_adapter(
    base: Base, memorized: tuple[AuditSubject, LoraAdapter]
) -> None:
    ann, adapter = memorized
    found = audit_one(base, ann, scale_update(adapter, -0.25))
    assert found.calibrated is not None and found.calibrated.auc < 0.2
    assert found.verdict == "leaks"


def test_audit_membership_passes_untrained_adapter(
    base: Base, memorized: tuple[AuditSubject, LoraAdapter]
) -> None:
    ann, _ = memorized
    for adapter in (None, init_lora(base, LORA, seed=0, person="ann")):
        found = audit_one(base, ann, adapter)
        assert (found.verdict, found.refused) == ("passed", False)
        assert found.calibrated is not None
        assert (found.calibrated.two_sided, found.calibrated.p) == (0.5, 1.0)
        assert (found.loss_in, found.loss_out) == (found.base_in, found.base_out)


def test_audit_membership_passes_adapter_trained_on_other_items(
    base: Base, memorized: tuple[AuditSubject, LoraAdapter]
) -> None:
    """The adapter changes every loss, but not by membership."""
    found = audit_one(base, make_subject("ann", 2), memorized[1])
    assert found.verdict == "passed"
    assert found.loss_in != found.base_in


def test_audit_membership_shows_less_leakage_for_pieces(
    base: Base, memorized: tuple[AuditSubject, LoraAdapter]
) -> None:
    ann, adapter = memorized
    artifacts = {
        "adapter": {"ann": adapter},
        "pieces": {"ann": scale_update(adapter, 1, list(adapter.pairs)[:1])},
        "nothing": {"ann": scale_update(adapter, 1, [])},
        "base": {"ann": None},
    }
    found = {name: people["ann"] for name, people in audit_many(base, [ann], artifacts).items()}
    losses = [found[name].loss_in for name in ("adapter", "pieces", "nothing")]
    # The more modules are shared, the lower the loss on members.
    assert losses == sorted(losses, key=lambda x: x or 0.0) and len(set(losses)) == 3
    assert found["nothing"].verdict == "passed"
    assert found["nothing"] == found["base"]


def test_audit_membership_tests_assembled_adapter_on_sharer_items(
    base: Base, memorized: tuple[AuditSubject, LoraAdapter]
) -> None:
    ann, adapter = memorized
    assembled = {"ann": scale_update(adapter, 0.8), "bob": scale_update(adapter, 0.8)}
    subjects = [ann, make_subject("bob", 5)]
    found = audit_many(base, subjects, {"for zoe": assembled})["for zoe"]
    assert (found["ann"].verdict, found["bob"].verdict) == ("leaks", "passed")


def test_audit_membership_of_many_equals_each_alone(
    base: Base, memorized: tuple[AuditSubject, LoraAdapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idiolect.audit.attacks._PEOPLE_PER_STACK", 2)
    ann, adapter = memorized
    people = [
        make_subject("bob", 5, 6, 4),
        ann,
        make_subject("cem", 6, 4, 9),
        make_subject("dee", 7, 5, 5),
    ]
    adapters = {"ann": adapter, "bob": random_adapter(base, 1, LORA), "cem": None}
    found = audit_many(base, people, {"x": adapters, "y": {}}, forward_tokens=40)
    assert set(found["x"]) == set(adapters) and found["y"] == {}
    for one in people[:3]:
        alone = audit_one(base, one, adapters[one.person])
        both = found["x"][one.person]
        assert both.loss_in == pytest.approx(alone.loss_in, abs=1e-5)
        assert both.base_out == pytest.approx(alone.base_out, abs=1e-5)
        assert both.verdict == alone.verdict
        assert both.calibrated is not None and alone.calibrated is not None
        assert both.calibrated.auc == pytest.approx(alone.calibrated.auc, abs=0.05)


def test_audit_membership_runs_base_once_for_all_artifacts(
    base: Base, memorized: tuple[AuditSubject, LoraAdapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []

    def count_and_compute(*given: Any, **options: Any) -> list[TokenLosses]:
        calls.append(tuple(given[2]))
        return compute_token_losses(*given, **options)

    monkeypatch.setattr("idiolect.audit.attacks.compute_token_losses", count_and_compute)
    ann, adapter = memorized
    audit_many(base, [ann], {str(n): {"ann": adapter} for n in range(3)})
    assert calls == [(), ("ann",), ("ann",), ("ann",)]


def test_audit_membership_refuses_unmeasured_unless_allowed(base: Base) -> None:
    few = make_subject("ann", 3, 20, 3)
    found = audit_one(base, few, random_adapter(base, 1, LORA))
    assert (found.verdict, found.refused) == ("not measurable", True)
    assert found.calibrated is found.raw is None
    config = LeakageConfig(unmeasured="pass")
    artifacts = {"adapter": {"ann": random_adapter(base, 1, LORA)}}
    allowed = audit_many(base, [few], artifacts, config)["adapter"]["ann"]
    assert (allowed.verdict, allowed.refused) == ("not measurable", False)
    none = audit_one(base, AuditSubject(person="ann", members=(), non_members=()), None)
    assert (none.verdict, none.loss_in, none.held_out) == ("not measurable", None, 0)


def test_split_members_counts_items_once_as_members() -> None:
    one, two, three = draw_items(0, 3)
    found = AuditSubject(
        person="ann", members=(one, two, one), non_members=(three, two, three)
    ).split_members()
    assert found == ((one, two), (three,))


def test_evaluate_has_few_false_alarms() -> None:
    """At most 5% of artifacts without a leak are refused, although with few items the two-sided AUC
    is often large."""
    rng = random.Random(0)
    for inside, outside in ((4, 4), (20, 4), (12, 12)):
        one = make_subject("ann", 1, inside, outside)
        found = [
            evaluate(
                one,
                [(rng.gauss(5, 1), rng.gauss(4, 1)) for _ in range(inside + outside)],
                LeakageConfig(),
            )
            for _ in range(300)
        ]
        refused = sum(m.refused for m in found)
        assert refused <= 300 * 0.05 + 3 * math.sqrt(300 * 0.05 * 0.95)
        large = sum(m.calibrated is not None and m.calibrated.two_sided >= 0.7 for m in found)
        assert large > 1.5 * refused


def test_evaluate_requires_size_and_significance() -> None:
    rng = random.Random(1)
    one = make_subject("ann", 1, 150, 150)
    # Many items, small effect: significant, but below the threshold.
    losses = [(0.6 * (n < 150) + rng.gauss(5, 1), 5.0) for n in range(300)]
    small = evaluate(one, losses, LeakageConfig())
    assert small.calibrated is not None and small.calibrated.p < 0.01
    assert small.calibrated.two_sided < 0.7 and small.verdict == "passed"
    assert evaluate(one, losses, LeakageConfig(threshold=0.55)).verdict == "leaks"
    # Few items, large effect: above the threshold, but not significant.
    few = evaluate(
        make_subject("ann", 1, 4, 4), [(n, 0.0) for n in (8, 7, 6, 2, 5, 4, 3, 1)], LeakageConfig()
    )
    assert few.calibrated is not None and few.calibrated.two_sided >= 0.7
    assert few.verdict == "passed" and few.calibrated.detectable == 1.0


def test_evaluate_calibration_removes_item_difficulty() -> None:
    """Items that are easy for the base are easy for the adapter: only the raw loss separates
    them."""
    one = make_subject("ann", 1, 8, 8)
    rng = random.Random(2)
    easy = [(float(n >= 8) + 3, float(n >= 8) + 3 + rng.gauss(0, 0.1)) for n in range(16)]
    found = evaluate(one, easy, LeakageConfig())
    assert found.raw is not None and found.raw.auc == 1
    assert found.verdict == "passed"


def test_audit_membership_rejects_invalid_input(
    base: Base, memorized: tuple[AuditSubject, LoraAdapter]
) -> None:
    ann, adapter = memorized
    with pytest.raises(UsageError, match="given twice"):
        audit_many(base, [ann, ann], {})
    with pytest.raises(UsageError, match="no items of 'eve'"):
        audit_many(base, [ann], {"adapter": {"eve": adapter}})
    with pytest.raises(MismatchError, match="made for base"):
        audit_one(base, ann, replace(adapter, base="0" * 64))
    with pytest.raises(IntegrityError, match=r"audit: the adapter of 'ann': adapter .* as large"):
        audit_one(base, ann, scale_update(adapter, 1e38))
    for wrong in ({"threshold": 0.4}, {"level": 0.0}, {"unmeasured": "maybe"}):
        with pytest.raises(UsageError, match=r"leakage\."):
            LeakageConfig(**wrong)  # type: ignore[arg-type]
