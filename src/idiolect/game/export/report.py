"""A report on the played rounds: counts, agreement between players, and precision of answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from idiolect.config import to_plain
from idiolect.game.export.agreement import compute_agreement, compute_precision_by_count
from idiolect.game.export.pairs import Lexicon, build_pair_rows
from idiolect.game.plays import Plays, RoundRow
from idiolect.game.rules.relations import Relation


def build_report(plays: Plays, lexicon: Lexicon, *, seed: int = 0) -> dict[str, Any]:
    """The report as plain JSON data: counts, ``agreement`` and ``precision``, per relation and
    overall.

    It contains neither answers nor player names.
    """
    # Include rare pairs: the report shows only counts, so it needs no privacy threshold.
    rows = build_pair_rows(plays, lexicon, least_players=0)
    relations = [relation.value for relation in Relation]
    precision = {
        name: [
            to_plain(p) for p in compute_precision_by_count([r for r in rows if r.relation == name])
        ]
        for name in relations
    }
    return {
        "format": "idiolect-nyms-report",
        "version": 1,
        "seed": seed,
        "players": len(plays.players),
        "rounds": len(plays.rounds),
        "votes": len(plays.votes),
        "relations": {
            name: _count_rounds([r for r in plays.rounds if r.relation == name])
            for name in relations
        },
        "agreement": {name: to_plain(a) for name, a in compute_agreement(plays, seed=seed).items()},
        "precision": {"all": [to_plain(p) for p in compute_precision_by_count(rows)], **precision},
    }


def _count_rounds(rounds: Sequence[RoundRow]) -> dict[str, int]:
    return {
        "players": len({row.player for row in rounds}),
        "rounds": len(rounds),
        "base_words": len({row.base_word for row in rounds}),
        "answers": sum(len(row.answers) for row in rounds),
    }
