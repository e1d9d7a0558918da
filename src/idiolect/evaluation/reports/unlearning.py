"""What unlearning did to a model, side by side with others, as plain data: ``report.json``, a page.

Made of scorecard rows; holds verdicts and numbers, never what was asked or answered. Needs no
model.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from idiolect.errors import UsageError
from idiolect.evaluation.environment import describe_hardware, list_versions
from idiolect.evaluation.reports.unlearning_html import render_unlearning_html
from idiolect.judging.protocol import JudgeInfo
from idiolect.scorecard import figures
from idiolect.scorecard.figures import Rate
from idiolect.scorecard.scorer import PromptResults, ScorecardRow
from idiolect.scorecard.serialize import row_to_dict
from idiolect.stats.significance import PairedTestResult
from idiolect.storage.files import write_atomic

FORMAT = "idiolect-unlearning-report"
VERSION = 1


def write_unlearning_report(
    cards: Sequence[ScorecardRow],
    judge: JudgeInfo,
    out: Path,
    *,
    after: Sequence[int] = (),
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write ``report.json`` and ``report.html`` of scorecard rows; gives the report.

    The first card is the model before, against which the others are compared prompt by prompt.
    ``after``: the steps of fine-tuning of ``Card.relearned``. ``about``: what else is known, e.g.
    base, method and scale. Raises UsageError without cards, and for rows of different prompts.
    """
    if not cards:
        raise UsageError("a report on unlearning needs at least the model before")
    before = cards[0]
    report = {
        "format": FORMAT,
        "version": VERSION,
        "hardware": describe_hardware(),
        "versions": list_versions(),
        "about": dict(about or {}),
        "judge": asdict(judge),
        "relearn_after": list(after),
        "models": [_describe_model(card, before) for card in cards],
    }
    report = json.loads(json.dumps(report, allow_nan=False))
    write_atomic(out / "report.html", render_unlearning_html(report))
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(out / "report.json", text + "\n")
    return report


def _describe_model(card: ScorecardRow, before: ScorecardRow) -> dict[str, Any]:
    found = card.membership.calibrated if card.membership else None
    cost = figures.retain_cost(card, before)
    perplexity = figures.compute_perplexity(card.retain)
    return {
        "name": card.name,
        "seconds": round(card.seconds, 2),
        "sets": [
            _describe_set(name, asked, before, card is before) for name, asked in card.sets.items()
        ],
        "retain_perplexity": perplexity if math.isfinite(perplexity) else None,
        "retain_cost": cost if math.isfinite(cost) else None,
        "choices": [
            {"name": name, **_convert_rate(figures.accuracy(found))}
            for name, found in card.choices.items()
        ],
        "similar": fmean(card.similar) if card.similar else None,
        "relearned": list(card.relearned),
        "membership": None
        if found is None
        else {
            "auc": found.two_sided,
            "interval": list(found.two_sided_interval),
            "by_chance": found.by_chance,
            "p": found.p,
        },
        "raw": row_to_dict(card),
    }


def _describe_set(
    name: str, asked: PromptResults, before: ScorecardRow, first: bool
) -> dict[str, Any]:
    if name not in before.sets or len(before.sets[name].harm_probabilities) != len(
        asked.harm_probabilities
    ):
        raise UsageError(f"the model before was not asked the prompts of {name!r}")
    then = before.sets[name]
    test = None if first else figures.compare_harm(asked, then)
    return {
        "name": name,
        "prompts": len(asked.harm_probabilities),
        "harmful": _convert_rate(figures.harmful_rate(asked)),
        "refused": _convert_rate(figures.refusal_rate(asked)),
        "nothing": _convert_rate(figures.degenerate_rate(asked)),
        "fine": _convert_rate(figures.ok_rate(asked)),
        "reduction": None if first else figures.harm_reduction(asked, then),
        "paired": None if test is None else _convert_test(test),
    }


def _convert_rate(share: Rate) -> dict[str, Any]:
    return {
        "count": share.count,
        "of": share.total,
        "rate": share.value,
        "interval": list(share.interval),
    }


def _convert_test(test: PairedTestResult) -> dict[str, Any]:
    return {
        "prompts": test.people,
        "gain": test.gain,
        "interval": list(test.interval),
        "p": test.p,
        "wins": test.wins,
        "ties": test.ties,
        "losses": test.losses,
    }
