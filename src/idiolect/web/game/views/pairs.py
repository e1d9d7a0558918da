"""Pages of Nym or Not: the introduction, the pairs and the result."""

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
from idiolect.web.accounts.players import get_current_player, renew_session
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
    """Explain Nym or Not; a POST starts a game."""
    player = get_current_player(request)
    if request.method == "POST":
        # Save the choice first, so that it still applies after a detour to the notice.
        save_clock_choice(request, untimed="untimed" in request.POST)
        if not has_agreed(request):
            return redirect(f"{reverse('game:notice')}?for=pairs")
        return start_pair_session(request)
    # Guests and accounts have a best game; visitors have none.
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
    """Start a game for the current player, or continue their open one, and redirect to it."""
    untimed = get_choices(request).untimed
    renew_session(request)
    opened = pair_sessions.start_pair_session(
        get_player(request), untimed=untimed, draw=SystemRandom()
    )
    return redirect("game:sitting", opened.pk)


@require_http_methods(["GET", "HEAD", "POST"])
@rate_limit(SUBMIT)
@render_errors
@require_consent
def show_pair_session(request: HttpRequest, pair_session_id: UUID) -> HttpResponse:
    """Show the pairs of an open game, or the result of one that ended; a POST submits votes."""
    player = get_player(request)
    if request.method == "POST":
        # Redirect after the POST, so that a reload of the result sends nothing again.
        pair_sessions.submit_votes(player, pair_session_id, _parse_votes(request.POST))
        return redirect("game:sitting", pair_session_id)
    pair_session = pair_sessions.get_pair_session(player, pair_session_id)
    if pair_session.state == State.OPEN:
        return _render_pairs(request, pair_session)
    if pair_session.state == State.FINISHED:
        return _render_points(request, pair_session)
    return render(request, "game/pairs_over.html", {"pair_session": pair_session})


def _parse_votes(form: QueryDict) -> dict[int, bool]:
    """Read the fields ``vote-0``, ``vote-1``, ... ("y" or "n"); ignore all other values."""
    said = {at: form.get(f"vote-{at}") for at in range(PAIRS_PER_SESSION)}
    return {at: vote == "y" for at, vote in said.items() if vote in ("y", "n")}


def _add_claim(pair: dict[str, Any]) -> dict[str, Any]:
    return pair | {"claim": CLAIM_TEXTS[Relation(pair["relation"])]}


def _render_pairs(request: HttpRequest, pair_session: PairSession) -> HttpResponse:
    """Render the voting form; `pair_session.pairs` has probabilities that it must not show."""
    return render(
        request,
        "game/pairs.html",
        {
            "pair_session": pair_session,
            "pairs": [_add_claim(pair) for pair in pair_session.pairs],
            "seconds": SESSION_SECONDS,
            "left": pair_sessions.compute_seconds_left(pair_session),
        },
    )


def _render_points(request: HttpRequest, pair_session: PairSession) -> HttpResponse:
    # The template gets only what it shows; `majority` is None if the pair was open.
    votes = [
        {
            "answer": vote.answer,
            "base": vote.base,
            "claim": CLAIM_TEXTS[Relation(vote.relation)],
            "yes": vote.yes,
            "majority": vote.majority,
            "points": vote.points,
        }
        for vote in pair_session.votes.all()
    ]
    agreed_with = sum(1 for vote in votes if vote["majority"] == vote["yes"])
    return render(
        request,
        "game/pairs_result.html",
        {"pair_session": pair_session, "votes": votes, "agreed_with": agreed_with},
    )
