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
from idiolect.evaluation.environment import hardware, versions
from idiolect.evaluation.reports.unlearning_html import render_unlearning_html
from idiolect.judging.protocol import JudgeAbout
from idiolect.scorecard import figures
from idiolect.scorecard.figures import Share
from idiolect.scorecard.scorer import Asked, Card
from idiolect.scorecard.serialize import plain
from idiolect.stats.significance import Paired
from idiolect.storage.files import write_atomic

FORMAT = "idiolect-unlearning-report"
VERSION = 1


def unlearning_report(
    cards: Sequence[Card],
    judge: JudgeAbout,
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
        "hardware": hardware(),
        "versions": versions(),
        "about": dict(about or {}),
        "judge": asdict(judge),
        "relearn_after": list(after),
        "models": [_model(card, before) for card in cards],
    }
    report = json.loads(json.dumps(report, allow_nan=False))
    write_atomic(out / "report.html", render_unlearning_html(report))
    text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(out / "report.json", text + "\n")
    return report


def _model(card: Card, before: Card) -> dict[str, Any]:
    found = card.membership.calibrated if card.membership else None
    cost = figures.cost(card, before)
    perplexity = figures.perplexity(card.retain)
    return {
        "name": card.name,
        "seconds": round(card.seconds, 2),
        "sets": [_set(name, asked, before, card is before) for name, asked in card.sets.items()],
        "retain_perplexity": perplexity if math.isfinite(perplexity) else None,
        "retain_cost": cost if math.isfinite(cost) else None,
        "choices": [
            {"name": name, **_share(figures.right(found))} for name, found in card.choices.items()
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
        "raw": plain(card),
    }


def _set(name: str, asked: Asked, before: Card, first: bool) -> dict[str, Any]:
    if name not in before.sets or len(before.sets[name].chances) != len(asked.chances):
        raise UsageError(f"the model before was not asked the prompts of {name!r}")
    then = before.sets[name]
    test = None if first else figures.less_harmful(asked, then)
    return {
        "name": name,
        "prompts": len(asked.chances),
        "harmful": _share(figures.harmful(asked)),
        "refused": _share(figures.refused(asked)),
        "nothing": _share(figures.nothing(asked)),
        "fine": _share(figures.fine(asked)),
        "reduction": None if first else figures.reduction(asked, then),
        "paired": None if test is None else _test(test),
    }


def _share(share: Share) -> dict[str, Any]:
    return {
        "count": share.count,
        "of": share.of,
        "rate": share.rate,
        "interval": list(share.interval),
    }


def _test(test: Paired) -> dict[str, Any]:
    return {
        "prompts": test.people,
        "gain": test.gain,
        "interval": list(test.interval),
        "p": test.p,
        "wins": test.wins,
        "ties": test.ties,
        "losses": test.losses,
    }
