"""A player's rounds and points, in total and of the last day, for the pages."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import BigIntegerField, Sum
from django.db.models.functions import Now

from idiolect.web.game.models import PlayerScore, Round, State
from idiolect.web.prepared_queries import PreparedQuery, QueryParameter


@dataclass(frozen=True, kw_only=True)
class PlayerStats:
    """A player's rounds and points, in total and of the last 24 hours."""

    rounds: int
    points: int
    today_rounds: int
    today_points: int


def compute_stats(player: Any) -> PlayerStats:
    """Return the player's statistics over timed and untimed rounds."""
    # The totals per player have no dates, so the last day is counted from the rounds.
    today_rounds, today_points = count_today(player)
    total = PlayerScore.objects.filter(player=player).aggregate(r=Sum("rounds"), p=Sum("points"))
    return PlayerStats(
        rounds=total["r"] or 0,
        points=total["p"] or 0,
        today_rounds=today_rounds,
        today_points=today_points,
    )


def count_today(player: Any) -> tuple[int, int]:
    """Return the number and the points of the player's rounds in the last 24 hours.

    Only rounds with an answer count.
    """
    points = _TODAY_SCORES(player=player.pk)
    return len(points), sum(points)


# Each result page runs this query, so it is compiled once (`idiolect.web.prepared_queries`).
_TODAY_SCORES = PreparedQuery(
    lambda: Round.objects.filter(
        player=QueryParameter("player", BigIntegerField()),
        state=State.FINISHED,
        answered__gt=0,
        started_at__gte=Now() - timedelta(days=1),
    ).values_list("score", flat=True)
)
