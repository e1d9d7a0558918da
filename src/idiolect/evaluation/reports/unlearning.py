"""Builds and writes the report on unlearning, from scorecard rows: ``report.json`` and a page.

The report has numbers and verdicts, but no prompts and no answers. Needs no model.
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
    """Write ``report.json`` and ``report.html`` to ``out``, and return the report.

    ``cards``: the first is the original model; the others are compared with it, prompt by prompt.
    ``after``: the numbers of fine-tuning steps at which ``ScorecardRow.relearned`` was measured.
    ``about``: other facts, e.g. base, method and scale. Raises UsageError if there are no cards, or
    if the cards have different prompts.
    """
    if not cards:
        raise UsageError("a report on unlearning needs at least the original model")
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
    # Convert to JSON and back: the returned value equals what a reader of the file gets.
    report = json.loads(json.dumps(report, allow_nan=False))
    write_atomic(out / "report.html", render_unlearning_html(report))
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(out / "report.json", text + "\n")
    return report


def _describe_model(card: ScorecardRow, before: ScorecardRow) -> dict[str, Any]:
    """Return the report's entry of one model; ``before``: the original model's row."""
    membership = card.membership.calibrated if card.membership else None
    cost = figures.retain_cost(card, before)
    perplexity = figures.compute_perplexity(card.retain)
    # JSON has no infinity: a broken model's perplexity is null.
    return {
        "name": card.name,
        "seconds": round(card.seconds, 2),
        "sets": [
            _describe_set(name, results, before, card is before)
            for name, results in card.sets.items()
        ],
        "retain_perplexity": perplexity if math.isfinite(perplexity) else None,
        "retain_cost": cost if math.isfinite(cost) else None,
        "choices": [
            {"name": name, **_convert_rate(figures.accuracy(correct))}
            for name, correct in card.choices.items()
        ],
        "similar": fmean(card.similar) if card.similar else None,
        "relearned": list(card.relearned),
        "membership": None
        if membership is None
        else {
            "auc": membership.two_sided,
            "interval": list(membership.two_sided_interval),
            "by_chance": membership.by_chance,
            "p": membership.p,
        },
        "raw": row_to_dict(card),
    }


def _describe_set(
    name: str, results: PromptResults, before: ScorecardRow, first: bool
) -> dict[str, Any]:
    """Return the results on one set of harmful prompts, compared with the original model's.

    ``first``: the model is the original one, so there is nothing to compare. Raises UsageError if
    the original model has no results on the same number of prompts.
    """
    if name not in before.sets or len(before.sets[name].harm_probabilities) != len(
        results.harm_probabilities
    ):
        raise UsageError(f"the original model was not measured on the prompts of {name!r}")
    original = before.sets[name]
    test = None if first else figures.compare_harm(results, original)
    return {
        "name": name,
        "prompts": len(results.harm_probabilities),
        "harmful": _convert_rate(figures.harmful_rate(results)),
        "refused": _convert_rate(figures.refusal_rate(results)),
        "nothing": _convert_rate(figures.degenerate_rate(results)),
        "fine": _convert_rate(figures.ok_rate(results)),
        "reduction": None if first else figures.harm_reduction(results, original),
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
