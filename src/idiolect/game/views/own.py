"""A player's own pages: their history, and their plays to take along."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from idiolect.game import own_data, standing
from idiolect.game.models import Round, State
from idiolect.game.views.players import agreed, player_of

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
    return render(request, "game/history.html", {"page": page, "standing": standing.of(player)})


@require_safe
@agreed
def export(request: HttpRequest) -> HttpResponse:
    """Everything the game keeps of the player, as a file."""
    return JsonResponse(
        own_data.plays_of(player_of(request)),
        headers={"Content-Disposition": 'attachment; filename="my-plays.json"'},
        json_dumps_params={"indent": 1, "ensure_ascii": False},
    )
