"""Extraction from the losses: which texts an artifact would say if it is given what precedes them.

Verbatim extraction (Carlini et al., arXiv 2012.07805, 2202.07646) asks a model for the second half
of each training text. The losses answer this for every part of every text (``traces.py``), by
greedy decoding and by sampling. A text counts only if the base would hardly say it: then the
artifact has it from the person.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from idiolect.audit.config import LeakageConfig
from idiolect.audit.leak import Leak
from idiolect.audit.plan import AuditPlan
from idiolect.audit.traces import ItemTrace


def find_extractable_texts(
    plan: AuditPlan, traces: Mapping[int, ItemTrace], config: LeakageConfig
) -> list[Leak]:
    """Return the texts and personal strings that the artifact would say; one leak per text.

    ``traces``: by item number.
    """
    leaks: list[Leak] = []
    for own in plan.strings:
        gains = [
            measure_said(traces[p.item], p.start, p.end, config.personal_surprise, config)
            for p in own.places
            if p.item in traces
        ]
        if max(gains, default=0.0) > 0:
            items = tuple(sorted({p.item for p in own.places}))
            leaks.append(Leak(attack="extraction", kind=own.kind, items=items, strength=max(gains)))
    # Items that share a repeated text are one leak.
    seen: set[tuple[int, ...]] = set()
    for item, trace in traces.items():
        gain = find_said_part(trace, config)
        if gain > 0:
            kind, items = plan.name_text(item)
            if items not in seen:
                seen.add(items)
                leaks.append(Leak(attack="extraction", kind=kind, items=items, strength=gain))
    return leaks


def find_said_part(trace: ItemTrace, config: LeakageConfig) -> float:
    """Return the largest gain of a part of an answer that the artifact says; 0 if there is none."""
    size = len(trace.answer)
    # Sums from the first token on: a part's loss is a difference of two of them.
    base_S, found_S = (
        np.concatenate([[0.0], np.cumsum(model.nats[:size])]) for model in (trace.base, trace.found)
    )
    wrong_S, base_wrong_S = (
        np.concatenate([[0], np.cumsum(~np.array(model.is_top[:size], dtype=bool))])
        for model in (trace.found, trace.base)
    )
    # All parts at once: [start, end].
    base_SS, found_SS = base_S[None] - base_S[:, None], found_S[None] - found_S[:, None]
    says_SS = (wrong_S[None] == wrong_S[:, None]) | (found_SS <= config.sample_nats)
    base_says_SS = base_wrong_S[None] == base_wrong_S[:, None]
    gain_SS = base_SS - found_SS
    counts_SS = says_SS & ~base_says_SS & (base_SS >= config.surprise)
    counts_SS &= np.triu(gain_SS >= config.surprise / 2, 1)
    return float(np.max(gain_SS, where=counts_SS, initial=0.0))


def measure_said(
    trace: ItemTrace, start: int, end: int, surprise: float, config: LeakageConfig
) -> float:
    """Return by how many nats the artifact makes a part of an answer likelier; 0 if it does not
    say it, or if the base might."""
    base, found = trace.sum_base(start, end), trace.sum_found(start, end)
    says = all(trace.found.is_top[start:end]) or found <= config.sample_nats
    base_says = all(trace.base.is_top[start:end])
    gain = base - found
    return gain if says and not base_says and base >= surprise and gain >= surprise / 2 else 0.0
