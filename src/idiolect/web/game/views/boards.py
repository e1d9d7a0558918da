"""The leaderboard page; htmx requests get only the board itself."""

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
    """Show one leaderboard.

    Query parameters: ``board``, one of ``BOARD_NAMES``; ``untimed``, for rounds without a clock.
    """
    name = request.GET.get("board", LeaderboardKind.AVERAGE.value)
    name = name if name in BOARD_NAMES else LeaderboardKind.AVERAGE.value
    untimed = "untimed" in request.GET
    # The board of hardest words ranks words, all others rank players.
    board: dict[str, object]
    if name == HARDEST:
        board = {"words": leaderboards.list_hardest_words()}
    else:
        board = {
            "leaders": leaderboards.get_leaderboard(
                LeaderboardKind(name), get_current_player(request), untimed=untimed
            )
        }
    # htmx swaps only the board, so it gets the template without the page around it.
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
            **board,
        },
    )
