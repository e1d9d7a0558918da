"""Membership inference: whether an adapter reveals which items it was trained on.

The attack score of an item is its loss under the base minus its loss with the adapter, so an item's
own difficulty cancels out (calibration; Watson et al., arXiv 2111.08440). The AUC says how well
that score separates items that were trained on from other items of the same person. It is one
attack: a pass means that this attack found nothing, not that no attack would. If the held-out items
are the later ones, an adapter that follows a person's changing taste looks like a leak; that errs
on the safe side. This module depends on adapters and examples, not on pools, ledgers or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from idiolect.audit.config import LeakageConfig, Verdict
from idiolect.audit.subject import AuditSubject
from idiolect.stats.auc import AucResult, compute_auc

_LOSS_DECIMALS = 5
"""Decimals of a loss in nats that are compared. Smaller differences are fp32 rounding and count as
ties."""


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


def _mean_or_none(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None
