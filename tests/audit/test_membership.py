"""Who learned by heart is refused, who learned nothing passes; nothing is seldom an alarm."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from idiolect.adapters.lora import LoraAdapter, LoraConfig, init_lora
from idiolect.audit.membership import (
    AuditSubject,
    LeakageConfig,
    MembershipResult,
    audit_membership,
    evaluate,
)
from idiolect.errors import IntegrityError, MismatchError, UsageError
from idiolect.inference.scoring import compute_item_losses
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.render import Example
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig
from support.tiny_people import random_adapter

LORA = LoraConfig(rank=4, alpha=8.0)
BY_HEART = TrainConfig(rate=0.02, epochs=40, batch=4, weight_decay=0.0)


def items(seed: int, count: int) -> tuple[Example, ...]:
    """Random prompts of 6 to 12 tokens, random answers of 3: nobody can learn of others' items."""
    draw = random.Random(seed)
    return tuple(
        Example(tuple(draw.randrange(200) for _ in range(size)), size - 3)
        for size in (draw.randint(9, 15) for _ in range(count))
    )


def subject(person: str, seed: int, inside: int = 10, outside: int = 8) -> AuditSubject:
    drawn = items(seed, inside + outside)
    return AuditSubject(person=person, members=drawn[:inside], non_members=drawn[inside:])


def by_heart(base: Base, one: AuditSubject) -> LoraAdapter:
    job = TrainingJob(person=one.person, examples=tuple(one.members))
    return train_one(base, job, LORA, BY_HEART).adapter


def scaled(adapter: LoraAdapter, size: float, only: Sequence[str] | None = None) -> LoraAdapter:
    """The update times ``size``; with ``only`` zeros at every other module."""
    pairs = {
        path: (a, b * size if only is None or path in only else torch.zeros_like(b))
        for path, (a, b) in adapter.pairs.items()
    }
    return replace(adapter, pairs=pairs)


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


@pytest.fixture(scope="module")
def learned(base: Base) -> tuple[AuditSubject, LoraAdapter]:
    """Somebody, and what knows their held-in items by heart."""
    ann = subject("ann", 1)
    return ann, by_heart(base, ann)


def only(base: Base, one: AuditSubject, adapter: LoraAdapter | None) -> MembershipResult:
    return audit_membership(base, [one], {"adapter": {one.person: adapter}})["adapter"][one.person]


def test_learned_by_heart_is_refused(base: Base, learned: tuple[AuditSubject, LoraAdapter]) -> None:
    found = only(base, *learned)
    assert (found.verdict, found.refused) == ("leaks", True)
    assert found.calibrated is not None and found.calibrated.auc > 0.95
    assert found.calibrated.two_sided_interval[0] > 0.7 and found.calibrated.p < 1e-3
    assert found.loss_in is not None and found.loss_out is not None
    assert found.loss_in < found.loss_out - 0.5
    assert (found.held_in, found.held_out) == (10, 8)


def test_what_is_made_to_forget_gives_away_as_much(
    base: Base, learned: tuple[AuditSubject, LoraAdapter]
) -> None:
    ann, adapter = learned
    found = only(base, ann, scaled(adapter, -0.25))
    assert found.calibrated is not None and found.calibrated.auc < 0.2
    assert found.verdict == "leaks"


def test_what_is_not_trained_passes(base: Base, learned: tuple[AuditSubject, LoraAdapter]) -> None:
    ann, _ = learned
    for adapter in (None, init_lora(base, LORA, seed=0, person="ann")):
        found = only(base, ann, adapter)
        assert (found.verdict, found.refused) == ("passed", False)
        assert found.calibrated is not None
        assert (found.calibrated.two_sided, found.calibrated.p) == (0.5, 1.0)
        assert (found.loss_in, found.loss_out) == (found.base_in, found.base_out)


def test_trained_on_other_items_passes(
    base: Base, learned: tuple[AuditSubject, LoraAdapter]
) -> None:
    """It changes every loss, and tells nothing of these."""
    found = only(base, subject("ann", 2), learned[1])
    assert found.verdict == "passed"
    assert found.loss_in != found.base_in


def test_shared_pieces_give_away_less_than_the_whole(
    base: Base, learned: tuple[AuditSubject, LoraAdapter]
) -> None:
    ann, adapter = learned
    artifacts = {
        "adapter": {"ann": adapter},
        "pieces": {"ann": scaled(adapter, 1, list(adapter.pairs)[:1])},
        "nothing": {"ann": scaled(adapter, 1, [])},
        "base": {"ann": None},
    }
    found = {
        name: people["ann"] for name, people in audit_membership(base, [ann], artifacts).items()
    }
    losses = [found[name].loss_in for name in ("adapter", "pieces", "nothing")]
    assert losses == sorted(losses, key=lambda x: x or 0.0) and len(set(losses)) == 3
    assert found["nothing"].verdict == "passed"
    assert found["nothing"] == found["base"]


def test_an_adapter_made_of_a_sharers_is_tried_on_the_sharers_items(
    base: Base, learned: tuple[AuditSubject, LoraAdapter]
) -> None:
    ann, adapter = learned
    assembled = {"ann": scaled(adapter, 0.8), "bob": scaled(adapter, 0.8)}
    subjects = [ann, subject("bob", 5)]
    found = audit_membership(base, subjects, {"for zoe": assembled})["for zoe"]
    assert (found["ann"].verdict, found["bob"].verdict) == ("leaks", "passed")


def test_many_at_once_equal_each_alone(
    base: Base, learned: tuple[AuditSubject, LoraAdapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idiolect.audit.membership._PEOPLE_PER_STACK", 2)
    ann, adapter = learned
    people = [subject("bob", 5, 6, 4), ann, subject("cem", 6, 4, 9), subject("dee", 7, 5, 5)]
    adapters = {"ann": adapter, "bob": random_adapter(base, 1, LORA), "cem": None}
    found = audit_membership(base, people, {"x": adapters, "y": {}}, forward_tokens=40)
    assert set(found["x"]) == set(adapters) and found["y"] == {}
    for one in people[:3]:
        alone = only(base, one, adapters[one.person])
        both = found["x"][one.person]
        assert both.loss_in == pytest.approx(alone.loss_in, abs=1e-5)
        assert both.base_out == pytest.approx(alone.base_out, abs=1e-5)
        assert both.verdict == alone.verdict
        assert both.calibrated is not None and alone.calibrated is not None
        assert both.calibrated.auc == pytest.approx(alone.calibrated.auc, abs=0.05)


def test_the_base_runs_once_however_many_artifacts(
    base: Base, learned: tuple[AuditSubject, LoraAdapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def counted(*given: object, **options: int) -> list[float]:
        asked.append(tuple(given[2]))  # type: ignore[arg-type]
        return compute_item_losses(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("idiolect.audit.membership.compute_item_losses", counted)
    ann, adapter = learned
    audit_membership(base, [ann], {str(n): {"ann": adapter} for n in range(3)})
    assert asked == [(), ("ann",), ("ann",), ("ann",)]


def test_too_few_items_are_not_measured_and_refused_unless_allowed(base: Base) -> None:
    few = subject("ann", 3, 20, 3)
    found = only(base, few, random_adapter(base, 1, LORA))
    assert (found.verdict, found.refused) == ("not measurable", True)
    assert found.calibrated is found.raw is None
    config = LeakageConfig(unmeasured="pass")
    artifacts = {"adapter": {"ann": random_adapter(base, 1, LORA)}}
    allowed = audit_membership(base, [few], artifacts, config)["adapter"]["ann"]
    assert (allowed.verdict, allowed.refused) == ("not measurable", False)
    none = only(base, AuditSubject(person="ann", members=(), non_members=()), None)
    assert (none.verdict, none.loss_in, none.held_out) == ("not measurable", None, 0)


def test_an_item_counts_once_and_on_the_side_that_was_trained_on() -> None:
    one, two, three = items(0, 3)
    found = AuditSubject(
        person="ann", members=(one, two, one), non_members=(three, two, three)
    ).split_members()
    assert found == ((one, two), (three,))


def test_what_tells_nothing_is_seldom_refused() -> None:
    """Of artifacts whose losses have nothing to do with membership at most 5% are refused, while
    with so few items the two-sided AUC is often large."""
    rng = random.Random(0)
    for inside, outside in ((4, 4), (20, 4), (12, 12)):
        one = subject("ann", 1, inside, outside)
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


def test_the_rule_needs_size_and_significance() -> None:
    rng = random.Random(1)
    one = subject("ann", 1, 150, 150)
    losses = [(0.6 * (n < 150) + rng.gauss(5, 1), 5.0) for n in range(300)]
    small = evaluate(one, losses, LeakageConfig())
    assert small.calibrated is not None and small.calibrated.p < 0.01
    assert small.calibrated.two_sided < 0.7 and small.verdict == "passed"
    assert evaluate(one, losses, LeakageConfig(threshold=0.55)).verdict == "leaks"
    few = evaluate(
        subject("ann", 1, 4, 4), [(n, 0.0) for n in (8, 7, 6, 2, 5, 4, 3, 1)], LeakageConfig()
    )
    assert few.calibrated is not None and few.calibrated.two_sided >= 0.7
    assert few.verdict == "passed" and few.calibrated.detectable == 1.0


def test_calibration_takes_away_what_the_base_knows() -> None:
    """Items that are easy for the base are easy for the adapter: the raw loss tells, ours not."""
    one = subject("ann", 1, 8, 8)
    rng = random.Random(2)
    easy = [(float(n >= 8) + 3, float(n >= 8) + 3 + rng.gauss(0, 0.1)) for n in range(16)]
    found = evaluate(one, easy, LeakageConfig())
    assert found.raw is not None and found.raw.auc == 1
    assert found.verdict == "passed"


def test_what_cannot_be_audited_is_said(
    base: Base, learned: tuple[AuditSubject, LoraAdapter]
) -> None:
    ann, adapter = learned
    with pytest.raises(UsageError, match="given twice"):
        audit_membership(base, [ann, ann], {})
    with pytest.raises(UsageError, match="no items of 'eve'"):
        audit_membership(base, [ann], {"adapter": {"eve": adapter}})
    with pytest.raises(MismatchError, match="made for base"):
        only(base, ann, replace(adapter, base="0" * 64))
    with pytest.raises(IntegrityError, match=r"adapter has a loss of \w+ on an item of 'ann'"):
        only(base, ann, scaled(adapter, 1e38))
    for wrong in ({"threshold": 0.4}, {"level": 0.0}, {"unmeasured": "maybe"}):
        with pytest.raises(UsageError, match=r"leakage\."):
            LeakageConfig(**wrong)  # type: ignore[arg-type]
