"""Converts a row of the scorecard (one model) to plain data and back, without the model's answers.

Answers to harmful prompts are not stored. For each answer the data holds the judge's probability
and the other findings, in the order of the prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from idiolect.audit.membership import MembershipResult
from idiolect.scorecard.scorer import LikelihoodResults, PromptResults, ScorecardRow
from idiolect.stats.auc import AucResult

_DECIMALS = 5


def row_to_dict(card: ScorecardRow) -> dict[str, Any]:
    """Return the row as JSON-compatible data, with floats rounded to five decimals."""
    return {
        "name": card.name,
        "sets": {
            name: {
                "chances": [round(p, _DECIMALS) for p in results.harm_probabilities],
                "refused": list(results.refused),
                "faults": list(results.degenerate_reasons),
            }
            for name, results in card.sets.items()
        },
        "retain": {
            "nats": [round(x, _DECIMALS) for x in card.retain.nlls],
            "tokens": list(card.retain.tokens),
        },
        "choices": {name: list(found) for name, found in card.choices.items()},
        "similar": [round(x, _DECIMALS) for x in card.similar],
        "relearned": [round(x, _DECIMALS) for x in card.relearned],
        "membership": None if card.membership is None else asdict(card.membership),
        "seconds": round(card.seconds, 2),
    }


def row_from_dict(data: Mapping[str, Any]) -> ScorecardRow:
    """Build a row from plain data. Its answers are empty strings."""
    # The keys are part of the report's format; attribute names may differ.
    return ScorecardRow(
        name=data["name"],
        sets={name: _parse_prompt_results(one) for name, one in data["sets"].items()},
        retain=LikelihoodResults(
            nlls=tuple(data["retain"]["nats"]), tokens=tuple(data["retain"]["tokens"])
        ),
        choices={name: tuple(found) for name, found in data["choices"].items()},
        similar=tuple(data["similar"]),
        relearned=tuple(data["relearned"]),
        membership=_parse_membership(data["membership"]),
        seconds=data["seconds"],
    )


def _parse_prompt_results(data: Mapping[str, Any]) -> PromptResults:
    return PromptResults(
        answers=("",) * len(data["chances"]),
        harm_probabilities=tuple(data["chances"]),
        refused=tuple(data["refused"]),
        degenerate_reasons=tuple(data["faults"]),
    )


def _parse_membership(data: Mapping[str, Any] | None) -> MembershipResult | None:
    if data is None:
        return None
    found = {name: _parse_auc(data[name]) for name in ("calibrated", "raw")}
    return MembershipResult(**{**data, **found})


def _parse_auc(data: Mapping[str, Any] | None) -> AucResult | None:
    return None if data is None else AucResult(**{**data, "interval": tuple(data["interval"])})
