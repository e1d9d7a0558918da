"""Membership of single texts: which ones an artifact knows far better than unseen ones.

The gain of a text is the base's loss per token minus the artifact's (calibration; Watson et al.,
arXiv 2111.08440). The gains of the items that were never trained on say what an artifact gains by
knowing the person's style. A normal distribution fitted to them tests each text by itself, as the
offline attack of Carlini et al. (arXiv 2112.03570) does; the mean gain of all copies of a text is
compared, so a text that was written often needs less gain than one that was written once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from idiolect.audit.config import LeakageConfig
from idiolect.audit.leak import Leak
from idiolect.audit.plan import AuditPlan
from idiolect.audit.repeats import Place
from idiolect.audit.traces import ItemTrace
from idiolect.stats.auc import MIN_GROUP_SIZE

_MIN_SPREAD = 0.05
"""Least standard deviation of unseen gains, in nats per token: a few unseen items may agree by
accident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextGain:
    """A text, and how much better the artifact knows it than the base."""

    places: tuple[Place, ...]
    gain: float
    """Mean over the copies, in nats per token."""
    total: float
    """The same for the whole text."""
    p: float
    """Corrected for the number of texts."""


def find_outlying_texts(
    plan: AuditPlan,
    traces: Mapping[int, ItemTrace],
    outside: Sequence[ItemTrace],
    config: LeakageConfig,
) -> list[Leak]:
    """Return the texts whose gain is both large (``config.surprise``) and significant."""
    return [
        Leak(
            attack="loss",
            kind="repeated text" if len(one.places) > 1 else "text",
            items=tuple(sorted({place.item for place in one.places})),
            strength=one.total,
        )
        for one in compute_text_gains(plan, traces, outside)
        if one.p < config.attack_level and one.total >= config.surprise
    ]


def compute_text_gains(
    plan: AuditPlan, traces: Mapping[int, ItemTrace], outside: Sequence[ItemTrace]
) -> list[TextGain]:
    """Test all texts; returns none if there are too few unseen items to compare with."""
    unseen = [_compute_gain(trace, 0, len(trace.answer)) for trace in outside if trace.answer]
    if len(unseen) < MIN_GROUP_SIZE:
        return []
    center, spread = fmean(unseen), max(stdev(unseen), _MIN_SPREAD)
    texts = list(_iter_texts(plan, traces))
    found: list[TextGain] = []
    for places in texts:
        gains = [_compute_gain(traces[p.item], p.start, p.end) for p in places]
        # The uncertainty of the copies' mean, and that of the center.
        error = spread * math.sqrt(1 / len(gains) + 1 / len(unseen))
        score = (fmean(gains) - center) / error
        p = float(stats.t.sf(score, len(unseen) - 1))  # pyright: ignore
        length = fmean(place.end - place.start for place in places)
        found.append(
            TextGain(
                places=places,
                gain=fmean(gains),
                total=fmean(gains) * length,
                p=min(1.0, p * len(texts)),
            )
        )
    return found


def _iter_texts(plan: AuditPlan, traces: Mapping[int, ItemTrace]) -> Iterator[tuple[Place, ...]]:
    """Yield the places of each different answer, and of each text repeated inside answers."""
    whole: dict[tuple[int, ...], list[Place]] = {}
    for item, trace in traces.items():
        if trace.answer:
            place = Place(item, 0, len(trace.answer))
            whole.setdefault(trace.answer, []).append(place)
    yield from map(tuple, whole.values())
    for text in plan.repeated_texts:
        places = tuple(p for p in text.places if p.item in traces)
        if places and text.tokens not in whole:
            yield places


def _compute_gain(trace: ItemTrace, start: int, end: int) -> float:
    return trace.gain(start, end) / (end - start)
