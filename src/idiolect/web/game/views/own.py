"""The page with a player's own rounds."""

from __future__ import annotations

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from idiolect.web.game import player_stats
from idiolect.web.game.models import Round, State
from idiolect.web.game.views.players import get_player, require_consent

PAGE_SIZE = 25


@require_safe
@require_consent
def show_history(request: HttpRequest) -> HttpResponse:
    """List the player's rounds, latest first."""
    player = get_player(request)
    rounds = (
        Round.objects.filter(player=player, state=State.FINISHED)
        .select_related("word")
        .prefetch_related("answers")
        .order_by("-started_at")
    )
    page = Paginator(rounds, PAGE_SIZE).get_page(request.GET.get("page"))
    return render(
        request, "game/history.html", {"page": page, "stats": player_stats.compute_stats(player)}
    )
