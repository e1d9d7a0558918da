"""The leaderboards; with htmx only the board itself is exchanged."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from idiolect.game.rules.standings import ACTIVE_DAYS, MIN_AVERAGE_ROUNDS, LeaderboardKind
from idiolect.web.accounts.players import get_current_player
from idiolect.web.game import leaderboards

HARDEST = "hardest"
BOARD_NAMES = {
    LeaderboardKind.AVERAGE.value: "Average",
    LeaderboardKind.TOTAL.value: "Total",
    LeaderboardKind.ROUNDS.value: "Rounds",
    HARDEST: "Hardest words",
}


@require_safe
def show_leaderboard(request: HttpRequest) -> HttpResponse:
    """One board, chosen by the address's ``board``; ``untimed`` for rounds without a clock."""
    name = request.GET.get("board", LeaderboardKind.AVERAGE.value)
    name = name if name in BOARD_NAMES else LeaderboardKind.AVERAGE.value
    untimed = "untimed" in request.GET
    found: dict[str, object]
    if name == HARDEST:
        found = {"words": leaderboards.list_hardest_words()}
    else:
        found = {
            "leaders": leaderboards.get_leaderboard(
                LeaderboardKind(name), get_current_player(request), untimed=untimed
            )
        }
    partial = bool(getattr(request, "htmx", False))
    return render(
        request,
        "game/board.html" if partial else "game/leaders.html",
        {
            "board": name,
            "boards": BOARD_NAMES.items(),
            "untimed": untimed,
            "least": MIN_AVERAGE_ROUNDS,
            "days": ACTIVE_DAYS,
            **found,
        },
    )
