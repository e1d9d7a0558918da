"""Membership inference: whether an adapter reveals which items it was trained on.

The attack score of an item is its loss under the base minus its loss with the adapter, so an item's
own difficulty cancels out (calibration; Watson et al., arXiv 2111.08440). The AUC says how well
that score separates items that were trained on from other items of the same person. It is one
attack: a pass means that this attack found nothing, not that no attack would. If the held-out items
are the later ones, an adapter that follows a person's changing taste looks like a leak; that errs
on the safe side. This module depends on adapters and examples, not on pools, ledgers or files.
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
"""Decimals of a loss in nats that are compared. Smaller differences are fp32 rounding and count as
ties."""


@dataclass(frozen=True, kw_only=True)
class LeakageConfig:
    """When an artifact is refused: if a leak is both large and statistically significant.

    The two-sided AUC, max(AUC, 1 - AUC), is above 0.5 by construction: 0.65 on average for 4 items
    against 8 without any leak. So neither its size nor its interval alone refuses an artifact (with
    few items the lower end is near 0.5 even for a complete leak). The exact permutation p-value
    decides whether there is a leak, the threshold whether it matters. At most ``level`` of the
    artifacts without a leak are refused, for any number of items. The cost is that few items reveal
    only large leaks; each result says how large (``detectable``).
    """

    threshold: float = 0.7
    """The two-sided AUC from which a leak matters. From 0.7 on, a test is commonly called
    acceptable at separating two groups (Hosmer and Lemeshow)."""
    level: float = 0.05
    """The p-value below which a leak is significant."""
    unmeasured: Literal["refuse", "pass"] = "refuse"
    """The decision for people with too few items to measure."""

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
        """Return the verdict on a measured separation; None means that there were too few
        items."""
        # Both conditions: a large effect that is also significant.
        if found is None:
            return "not measurable"
        large = found.two_sided >= self.threshold
        return "leaks" if large and found.p < self.level else "passed"

    def is_refused(self, verdict: Verdict) -> bool:
        """Whether an artifact with this verdict must not be shared."""
        return verdict == "leaks" or (verdict == "not measurable" and self.unmeasured == "refuse")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSubject:
    """One person's items: the members (trained on) and non-members."""

    person: str
    members: Sequence[Example]
    non_members: Sequence[Example]

    def split_members(self) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
        """Return members and non-members without duplicates; an item that was trained on is no
        non-member."""
        # A dict keeps the order and drops duplicates.
        inside = dict.fromkeys(self.members)
        return tuple(inside), tuple(e for e in dict.fromkeys(self.non_members) if e not in inside)


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipResult:
    """What one artifact reveals about one person."""

    person: str
    held_in: int
    held_out: int
    """The number of different items on each side."""
    loss_in: float | None
    loss_out: float | None
    """Mean loss of the items with the artifact, in nats per token; None if there are no items."""
    base_in: float | None
    base_out: float | None
    """The same with the bare base."""
    calibrated: AucResult | None
    """Separation by the base's loss minus the artifact's, which decides the verdict. None for too
    few items."""
    raw: AucResult | None
    """Separation by the artifact's loss alone; it includes what the bare base already separates."""
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
    """Measure what each artifact reveals about each person; returns results by artifact name and
    person.

    An artifact maps people to the adapter on which their items are tested: their own, the shared
    part of it (zeros elsewhere), or one that was assembled for another person. None is the bare
    base; people it does not contain are not tested. The base runs over all items once for all
    artifacts, and each artifact runs for many people at once. Raises UsageError for people without
    items or given twice, IntegrityError if a loss is not finite, and as
    ``Adapter.check_matches_base``.
    """
    config = config or LeakageConfig()
    # Check all input before the first forward.
    known = {subject.person: subject for subject in subjects}
    if len(known) < len(subjects):
        raise UsageError("membership: a person is given twice; give each person's items once")
    strangers = {person for people in artifacts.values() for person in people} - set(known)
    if strangers:
        raise UsageError(f"membership: no items of {min(strangers)!r} to test the adapter on")
    out: dict[str, dict[str, MembershipResult]] = {name: {} for name in artifacts}
    for start in range(0, len(subjects), _PEOPLE_PER_STACK):
        chunk = subjects[start : start + _PEOPLE_PER_STACK]
        # The base's losses calibrate every artifact's.
        rows = list(_iter_rows(chunk))
        plain = _compute_losses(base, rows, {}, forward_tokens, "the base")
        for name, people in artifacts.items():
            adapters = {s.person: a for s in chunk if (a := people.get(s.person)) is not None}
            found = (
                _compute_losses(base, rows, adapters, forward_tokens, name) if adapters else plain
            )
            for subject in chunk:
                if subject.person in people:
                    # Pair both losses of each item of this person.
                    own = [i for i, row in enumerate(rows) if row[0] == subject.person]
                    losses = [(plain[i], found[i]) for i in own]
                    out[name][subject.person] = evaluate(subject, losses, config)
    return out


def evaluate(
    subject: AuditSubject, losses: Sequence[tuple[float, float]], config: LeakageConfig
) -> MembershipResult:
    """Return the result of an audit from the losses (base, artifact) of the items, in the order of
    ``AuditSubject.split_members``."""
    inside, outside = subject.split_members()
    assert len(losses) == len(inside) + len(outside)
    # Higher scores mean "more likely a member": a larger drop from the base's loss, or a smaller
    # loss.
    members, others = losses[: len(inside)], losses[len(inside) :]
    calibrated = compute_auc(
        [round(b - a, _LOSS_DECIMALS) for b, a in members],
        [round(b - a, _LOSS_DECIMALS) for b, a in others],
        level=config.level,
    )
    # The raw score is reported for comparison only.
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
                f"membership: {name} has a loss of {loss} on an item of {person!r}; its weights "
                "are damaged, so train it again"
            )
    return found


def _mean_or_none(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
