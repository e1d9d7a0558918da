"""Membership inference: whether an adapter gives away which items it was trained on.

The attack takes an item's loss under the base minus its loss with the adapter, so that how hard an
item is by itself does not count (calibration; Watson et al., arXiv 2111.08440), and asks how well
that tells items that were trained on from items of the same person that were not. It is one attack:
a pass says that this one found nothing, not that none would. Where held-out items are the later
ones, an adapter that follows a person's change looks like one that leaks; that errs on the safe
side. Knows adapters and examples; knows nothing of pools, ledgers or files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from idiolect.adapters.protocol import Adapter
from idiolect.errors import IntegrityError, UsageError
from idiolect.inference.scoring import PersonExample, compute_item_losses
from idiolect.models.base import Base
from idiolect.prompts.render import Example
from idiolect.stats.auc import AucResult, compute_auc

Verdict = Literal["passed", "leaks", "not measurable"]

_PEOPLE_PER_STACK = 32
"""People whose adapters are stacked at once: 0.2 GB at rank 8 on the default base."""
_LOSS_DECIMALS = 5
"""Decimals of a loss in nats that are kept: what is below is rounding of fp32, and a tie."""


@dataclass(frozen=True, kw_only=True)
class LeakageConfig:
    """When an artifact is refused: where a leak is both large and no accident.

    The larger of AUC and 1 - AUC is above a half by construction: 0.65 on average for 4 items
    against 8 although there is nothing. So its size alone refuses nobody, nor does its interval
    (with few items its lower end is near a half even where all is given away). The exact
    permutation p decides whether there is something, the threshold whether it matters; of artifacts
    that give nothing away at most ``level`` are refused, however few the items. The price is that
    few items find large leaks only: each result says how large (``detectable``).
    """

    threshold: float = 0.7
    """The two-sided AUC from which a leak matters: 0.7 is where a test is commonly called
    acceptable at telling two groups apart (Hosmer and Lemeshow)."""
    level: float = 0.05
    """p below which it is no accident."""
    unmeasured: Literal["refuse", "pass"] = "refuse"
    """What happens to those with too few items, of whom nothing is known."""

    def __post_init__(self) -> None:
        if not 0.5 <= self.threshold <= 1:
            raise UsageError(f"leakage.threshold: must be in [0.5, 1], got {self.threshold}")
        if not 0 < self.level < 1:
            raise UsageError(f"leakage.level: must be between 0 and 1, got {self.level}")
        if self.unmeasured not in ("refuse", "pass"):
            raise UsageError(
                f"leakage.unmeasured: must be 'refuse' or 'pass', got {self.unmeasured!r}"
            )

    def decide_verdict(self, found: AucResult | None) -> Verdict:
        """What a measured separation says."""
        if found is None:
            return "not measurable"
        large = found.two_sided >= self.threshold
        return "leaks" if large and found.p < self.level else "passed"

    def is_refused(self, verdict: Verdict) -> bool:
        """Whether what has this verdict must not be shared."""
        return verdict == "leaks" or (verdict == "not measurable" and self.unmeasured == "refuse")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSubject:
    """One person's items: those that the person's adapter was trained on, and others."""

    person: str
    members: Sequence[Example]
    non_members: Sequence[Example]

    def split_members(self) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
        """Held-in and held-out items, each once; what was trained on is not held out."""
        inside = dict.fromkeys(self.members)
        return tuple(inside), tuple(e for e in dict.fromkeys(self.non_members) if e not in inside)


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipResult:
    """What one artifact gives away of one person."""

    person: str
    held_in: int
    held_out: int
    """Different items on each side."""
    loss_in: float | None
    loss_out: float | None
    """Mean loss of the items with the artifact, in nats a token; ``None`` where there are none."""
    base_in: float | None
    base_out: float | None
    """The same with the bare base."""
    calibrated: AucResult | None
    """By the base's loss minus the artifact's: what is judged. ``None`` for too few items."""
    raw: AucResult | None
    """By the artifact's loss alone; also tells apart what the bare base tells apart."""
    verdict: Verdict
    refused: bool


def audit_membership(
    base: Base,
    subjects: Sequence[AuditSubject],
    artifacts: Mapping[str, Mapping[str, Adapter | None]],
    config: LeakageConfig | None = None,
    *,
    forward_tokens: int = 1024,
) -> dict[str, dict[str, MembershipResult]]:
    """What each artifact gives away of each person: by the artifact's name, then by person.

    An artifact maps people to the adapter that their items are tried on: their own, what of it is
    shared (zeros elsewhere), or one that was assembled for somebody else; ``None`` is the bare
    base, people it leaves out are not asked about. The base runs over all items once, whatever the
    number of artifacts, and each artifact for many people at once. Raises UsageError for people
    without items here or named twice, IntegrityError for a loss that is not finite, and as
    ``Adapter.check``.
    """
    config = config or LeakageConfig()
    known = {subject.person: subject for subject in subjects}
    if len(known) < len(subjects):
        raise UsageError("membership: somebody is named twice; give each person's items once")
    strangers = {person for people in artifacts.values() for person in people} - set(known)
    if strangers:
        raise UsageError(f"membership: no items of {min(strangers)!r} to try the adapter on")
    out: dict[str, dict[str, MembershipResult]] = {name: {} for name in artifacts}
    for start in range(0, len(subjects), _PEOPLE_PER_STACK):
        some = subjects[start : start + _PEOPLE_PER_STACK]
        rows = list(_iter_rows(some))
        plain = _compute_losses(base, rows, {}, forward_tokens, "the base")
        for name, people in artifacts.items():
            adapters = {s.person: a for s in some if (a := people.get(s.person)) is not None}
            found = (
                _compute_losses(base, rows, adapters, forward_tokens, name) if adapters else plain
            )
            for subject in some:
                if subject.person in people:
                    own = [i for i, row in enumerate(rows) if row[0] == subject.person]
                    losses = [(plain[i], found[i]) for i in own]
                    out[name][subject.person] = evaluate(subject, losses, config)
    return out


def evaluate(
    subject: AuditSubject, losses: Sequence[tuple[float, float]], config: LeakageConfig
) -> MembershipResult:
    """What the items' losses (base, artifact) say, in the order of ``Subject.parts``."""
    inside, outside = subject.split_members()
    assert len(losses) == len(inside) + len(outside)
    members, others = losses[: len(inside)], losses[len(inside) :]
    calibrated = compute_auc(
        [round(b - a, _LOSS_DECIMALS) for b, a in members],
        [round(b - a, _LOSS_DECIMALS) for b, a in others],
        level=config.level,
    )
    raw = compute_auc(
        [round(-a, _LOSS_DECIMALS) for _, a in members],
        [round(-a, _LOSS_DECIMALS) for _, a in others],
        level=config.level,
    )
    verdict = config.decide_verdict(calibrated)
    return MembershipResult(
        person=subject.person,
        held_in=len(members),
        held_out=len(others),
        loss_in=_mean_or_none([a for _, a in members]),
        loss_out=_mean_or_none([a for _, a in others]),
        base_in=_mean_or_none([b for b, _ in members]),
        base_out=_mean_or_none([b for b, _ in others]),
        calibrated=calibrated,
        raw=raw,
        verdict=verdict,
        refused=config.is_refused(verdict),
    )


def _iter_rows(subjects: Sequence[AuditSubject]) -> Iterator[PersonExample]:
    for subject in subjects:
        for part in subject.split_members():
            yield from ((subject.person, example) for example in part)


def _compute_losses(
    base: Base,
    rows: Sequence[PersonExample],
    adapters: Mapping[str, Adapter],
    forward_tokens: int,
    name: str,
) -> list[float]:
    found = compute_item_losses(base, rows, adapters, forward_tokens=forward_tokens)
    for (person, _), loss in zip(rows, found, strict=True):
        if not math.isfinite(loss):
            raise IntegrityError(
                f"membership: {name} has a loss of {loss} on an item of {person!r}; "
                "its weights are broken, train it again"
            )
    return found


def _mean_or_none(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
