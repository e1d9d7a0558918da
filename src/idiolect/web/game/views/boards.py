"""The leaderboards; with htmx only the board itself is exchanged."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from idiolect.game.rules.standings import ACTIVE_DAYS, AVERAGE_ROUNDS, Board
from idiolect.web.accounts.players import current_player
from idiolect.web.game import leaderboards

HARDEST = "hardest"
NAMES = {
    Board.AVERAGE.value: "Average",
    Board.TOTAL.value: "Total",
    Board.ROUNDS.value: "Rounds",
    HARDEST: "Hardest words",
}


@require_safe
def leaders(request: HttpRequest) -> HttpResponse:
    """One board, chosen by the address's ``board``; ``untimed`` for rounds without a clock."""
    name = request.GET.get("board", Board.AVERAGE.value)
    name = name if name in NAMES else Board.AVERAGE.value
    untimed = "untimed" in request.GET
    found: dict[str, object]
    if name == HARDEST:
        found = {"words": leaderboards.hardest()}
    else:
        found = {
            "leaders": leaderboards.leaders(Board(name), current_player(request), untimed=untimed)
        }
    partial = bool(getattr(request, "htmx", False))
    return render(
        request,
        "game/board.html" if partial else "game/leaders.html",
        {
            "board": name,
            "boards": NAMES.items(),
            "untimed": untimed,
            "least": AVERAGE_ROUNDS,
            "days": ACTIVE_DAYS,
            **found,
        },
    )
