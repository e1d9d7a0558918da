"""Pages of Nym or Not: what it is, the pairs, the points."""

from __future__ import annotations

from random import SystemRandom
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from idiolect.game.rules.pairs import PAIRS_PER_SESSION, SESSION_SECONDS
from idiolect.game.rules.relations import Relation
from idiolect.web.accounts.players import get_current_player
from idiolect.web.game import pair_sessions
from idiolect.web.game.models import PairSession, State
from idiolect.web.game.views.choices import get_choices, save_clock_choice
from idiolect.web.game.views.players import get_player, has_agreed, render_errors, require_consent
from idiolect.web.rate_limits import SUBMIT, rate_limit

CLAIM_TEXTS = {
    Relation.SYNONYMS: "is another word for",
    Relation.ANTONYMS: "is the opposite of",
    Relation.HYPONYMS: "is a kind of",
    Relation.MERONYMS: "is a part of",
}


@require_http_methods(["GET", "HEAD", "POST"])
@rate_limit(SUBMIT)
@render_errors
def show_intro(request: HttpRequest) -> HttpResponse:
    """What Nym or Not is; a POST starts a game."""
    player = get_current_player(request)
    if request.method == "POST":
        save_clock_choice(request, untimed="untimed" in request.POST)
        if not has_agreed(request):
            return redirect(f"{reverse('game:notice')}?for=pairs")
        return start_pair_session(request)
    played = (
        PairSession.objects.filter(player=player, state=State.FINISHED).order_by("-score")
        if player is not None
        else PairSession.objects.none()
    )
    best = played.first()
    return render(
        request,
        "game/pairs_intro.html",
        {
            "pairs": PAIRS_PER_SESSION,
            "seconds": SESSION_SECONDS,
            "best": best,
            "untimed": get_choices(request).untimed,
        },
    )


def start_pair_session(request: HttpRequest) -> HttpResponse:
    """A game of this player's, or the one they have open."""
    untimed = get_choices(request).untimed
    opened = pair_sessions.start_pair_session(
        get_player(request), untimed=untimed, draw=SystemRandom()
    )
    return redirect("game:sitting", opened.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@rate_limit(SUBMIT)
@render_errors
@require_consent
def show_pair_session(request: HttpRequest, sitting_id: UUID) -> HttpResponse:
    """The pairs while the game is open, then its result; takes the votes."""
    player = get_player(request)
    if request.method == "POST":
        pair_sessions.submit_votes(player, sitting_id, _parse_votes(request.POST))
        return redirect("game:sitting", sitting_id)
    sitting = pair_sessions.get_pair_session(player, sitting_id)
    if sitting.state == State.OPEN:
        return _render_pairs(request, sitting)
    if sitting.state == State.FINISHED:
        return _render_points(request, sitting)
    return render(request, "game/pairs_over.html", {"sitting": sitting})


def _parse_votes(form: QueryDict) -> dict[int, bool]:
    """Fields ``vote-0``, ``vote-1``, ...: "y" or "n"; anything else says nothing."""
    said = {at: form.get(f"vote-{at}") for at in range(PAIRS_PER_SESSION)}
    return {at: vote == "y" for at, vote in said.items() if vote in ("y", "n")}


def _add_claim(pair: dict[str, Any]) -> dict[str, Any]:
    return pair | {"claim": CLAIM_TEXTS[Relation(pair["relation"])]}


def _render_pairs(request: HttpRequest, sitting: PairSession) -> HttpResponse:
    return render(
        request,
        "game/pairs.html",
        {
            "sitting": sitting,
            "pairs": [_add_claim(pair) for pair in sitting.pairs],
            "seconds": SESSION_SECONDS,
            "left": pair_sessions.compute_seconds_left(sitting),
        },
    )


def _render_points(request: HttpRequest, sitting: PairSession) -> HttpResponse:
    votes = [
        {
            "answer": vote.answer,
            "base": vote.base,
            "claim": CLAIM_TEXTS[Relation(vote.relation)],
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
