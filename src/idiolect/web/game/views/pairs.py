"""Pages of Nym or Not: what it is, the pairs, the points."""

from __future__ import annotations

from random import SystemRandom
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from idiolect.game.rules.pairs import PAIRS, PAIRS_SECONDS
from idiolect.game.rules.relations import Relation
from idiolect.web.accounts.players import current_player
from idiolect.web.game import pair_sessions
from idiolect.web.game.models import Sitting, State
from idiolect.web.game.views.choices import choices, set_clock
from idiolect.web.game.views.players import agreed, explained, has_agreed, player_of
from idiolect.web.rate_limits import SUBMIT, limited

CLAIM = {
    Relation.SYNONYMS: "is another word for",
    Relation.ANTONYMS: "is the opposite of",
    Relation.HYPONYMS: "is a kind of",
    Relation.MERONYMS: "is a part of",
}


@require_http_methods(["GET", "HEAD", "POST"])
@limited(SUBMIT)
@explained
def intro(request: HttpRequest) -> HttpResponse:
    """What Nym or Not is; a POST starts a game."""
    player = current_player(request)
    if request.method == "POST":
        set_clock(request, untimed="untimed" in request.POST)
        if not has_agreed(request):
            return redirect(f"{reverse('game:notice')}?for=pairs")
        return start_sitting(request)
    played = (
        Sitting.objects.filter(player=player, state=State.FINISHED).order_by("-score")
        if player is not None
        else Sitting.objects.none()
    )
    best = played.first()
    return render(
        request,
        "game/pairs_intro.html",
        {
            "pairs": PAIRS,
            "seconds": PAIRS_SECONDS,
            "best": best,
            "untimed": choices(request).untimed,
        },
    )


def start_sitting(request: HttpRequest) -> HttpResponse:
    """A game of this player's, or the one they have open."""
    untimed = choices(request).untimed
    opened = pair_sessions.start(player_of(request), untimed=untimed, draw=SystemRandom())
    return redirect("game:sitting", opened.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@limited(SUBMIT)
@explained
@agreed
def sitting_page(request: HttpRequest, sitting_id: UUID) -> HttpResponse:
    """The pairs while the game is open, then its result; takes the votes."""
    player = player_of(request)
    if request.method == "POST":
        pair_sessions.submit(player, sitting_id, _said(request.POST))
        return redirect("game:sitting", sitting_id)
    sitting = pair_sessions.find(player, sitting_id)
    if sitting.state == State.OPEN:
        return _pairs(request, sitting)
    if sitting.state == State.FINISHED:
        return _points(request, sitting)
    return render(request, "game/pairs_over.html", {"sitting": sitting})


def _said(form: QueryDict) -> dict[int, bool]:
    """Fields ``vote-0``, ``vote-1``, ...: "y" or "n"; anything else says nothing."""
    said = {at: form.get(f"vote-{at}") for at in range(PAIRS)}
    return {at: vote == "y" for at, vote in said.items() if vote in ("y", "n")}


def _claim(pair: dict[str, Any]) -> dict[str, Any]:
    return pair | {"claim": CLAIM[Relation(pair["relation"])]}


def _pairs(request: HttpRequest, sitting: Sitting) -> HttpResponse:
    return render(
        request,
        "game/pairs.html",
        {
            "sitting": sitting,
            "pairs": [_claim(pair) for pair in sitting.pairs],
            "seconds": PAIRS_SECONDS,
            "left": pair_sessions.seconds_left(sitting),
        },
    )


def _points(request: HttpRequest, sitting: Sitting) -> HttpResponse:
    votes = [
        {
            "answer": vote.answer,
            "base": vote.base,
            "claim": CLAIM[Relation(vote.relation)],
            "yes": vote.yes,
            "majority": vote.majority,
            "points": vote.points,
        }
        for vote in sitting.votes.all()
    ]
    agreed_with = sum(1 for vote in votes if vote["majority"] == vote["yes"])
    return render(
        request,
        "game/pairs_result.html",
        {"sitting": sitting, "votes": votes, "agreed_with": agreed_with},
    )
