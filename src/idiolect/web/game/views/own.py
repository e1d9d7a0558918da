"""A player's own page: their history."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from idiolect.web.game import player_stats
from idiolect.web.game.models import Round, State
from idiolect.web.game.views.players import agreed, player_of

A_PAGE = 25


@require_safe
@agreed
def history(request: HttpRequest) -> HttpResponse:
    """The player's rounds, latest first."""
    player = player_of(request)
    rounds = (
        Round.objects.filter(player=player, state=State.FINISHED)
        .select_related("word")
        .prefetch_related("answers")
        .order_by("-started_at")
    )
    page = Paginator(rounds, A_PAGE).get_page(request.GET.get("page"))
    return render(request, "game/history.html", {"page": page, "standing": player_stats.of(player)})
