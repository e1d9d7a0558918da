"""A scorecard's row as plain data and back, without what the model said.

What models answer to harmful prompts is not kept: of each answer there is the judge's verdict and
what else was found, in the order of the prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from idiolect.audit.membership import Membership
from idiolect.scorecard.scorer import Asked, Card, Text
from idiolect.stats.auc import Separation

_DECIMALS = 5


def plain(card: Card) -> dict[str, Any]:
    """The row as JSON takes it; numbers to five decimals."""
    return {
        "name": card.name,
        "sets": {
            name: {
                "chances": [round(p, _DECIMALS) for p in asked.chances],
                "refused": list(asked.refused),
                "faults": list(asked.faults),
            }
            for name, asked in card.sets.items()
        },
        "retain": {
            "nats": [round(x, _DECIMALS) for x in card.retain.nats],
            "tokens": list(card.retain.tokens),
        },
        "choices": {name: list(found) for name, found in card.choices.items()},
        "similar": [round(x, _DECIMALS) for x in card.similar],
        "relearned": [round(x, _DECIMALS) for x in card.relearned],
        "membership": None if card.membership is None else asdict(card.membership),
        "seconds": round(card.seconds, 2),
    }


def card_of(data: Mapping[str, Any]) -> Card:
    """A row from plain data; its answers are empty."""
    return Card(
        name=data["name"],
        sets={name: _asked(one) for name, one in data["sets"].items()},
        retain=Text(nats=tuple(data["retain"]["nats"]), tokens=tuple(data["retain"]["tokens"])),
        choices={name: tuple(found) for name, found in data["choices"].items()},
        similar=tuple(data["similar"]),
        relearned=tuple(data["relearned"]),
        membership=_membership(data["membership"]),
        seconds=data["seconds"],
    )


def _asked(data: Mapping[str, Any]) -> Asked:
    return Asked(
        answers=("",) * len(data["chances"]),
        chances=tuple(data["chances"]),
        refused=tuple(data["refused"]),
        faults=tuple(data["faults"]),
    )


def _membership(data: Mapping[str, Any] | None) -> Membership | None:
    if data is None:
        return None
    found = {name: _separation(data[name]) for name in ("calibrated", "raw")}
    return Membership(**{**data, **found})


def _separation(data: Mapping[str, Any] | None) -> Separation | None:
    return None if data is None else Separation(**{**data, "interval": tuple(data["interval"])})
