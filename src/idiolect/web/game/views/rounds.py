"""Pages of a round: start, play, result, skip. The form has answers and nothing else."""

from __future__ import annotations

import secrets
from itertools import islice
from random import Random
from uuid import UUID

from django.db.models import UUIDField
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from idiolect.game import words
from idiolect.game.profanity import is_slur
from idiolect.game.rules.answers import stem
from idiolect.game.rules.relations import SECONDS, Relation, question
from idiolect.game.rules.scoring import LISTED_BONUS
from idiolect.web.game import answer_counts, player_stats, rounds
from idiolect.web.game.models import Answer, Round, State
from idiolect.web.game.views.choices import choices, choose
from idiolect.web.game.views.players import agreed, explained, player_of
from idiolect.web.prepared_queries import Prepared, Slot
from idiolect.web.rate_limits import SUBMIT, limited

BOXES = 8
"""Boxes in the form as it is sent; with a script only one is shown at first."""
MISSED = 8
"""Answers of WordNet's that a result page names; of one word, since others are often technical."""


def start_round(request: HttpRequest) -> HttpResponse:
    """A round as the visitor's choices say, or the one they have open."""
    chosen = choices(request)
    opened = rounds.start(
        player_of(request), chosen.relations, untimed=chosen.untimed, draw=_unforeseeable()
    )
    return redirect("game:round", opened.pk)


def _unforeseeable() -> Random:
    """For players; what was drawn stands in the round. Asking the system for each number would
    take longer than choosing."""
    return Random(secrets.randbits(256))


@require_POST
@limited(SUBMIT)
@explained
def play(request: HttpRequest) -> HttpResponse:
    """Remembers what was chosen and starts a round; who has not agreed yet sees the notice."""
    choose(request, request.POST)
    return _start(request)


@agreed
def _start(request: HttpRequest) -> HttpResponse:
    return start_round(request)


@require_http_methods(["GET", "HEAD", "POST"])
@limited(SUBMIT)
@explained
@agreed
def round_page(request: HttpRequest, round_id: UUID) -> HttpResponse:
    """The question while the round is open, then its result; takes the answers."""
    player = player_of(request)
    if request.method == "POST":
        rounds.submit(player, round_id, request.POST.getlist("answer"))
        return redirect("game:round", round_id)
    round_ = rounds.find(player, round_id)
    if round_.state == State.OPEN:
        return _question(request, round_)
    if round_.state == State.FINISHED:
        return _result(request, round_)
    return render(request, "game/round_over.html", {"round": round_, "question": _asked(round_)})


@require_POST
@limited(SUBMIT)
@explained
@agreed
def skip(request: HttpRequest, round_id: UUID) -> HttpResponse:
    """Another word."""
    rounds.skip(player_of(request), round_id)
    return start_round(request)


def _asked(round_: Round) -> str:
    word, relation = round_.word.base, Relation(round_.word.relation)
    return question(relation, word, words.table().determiner(word))


def _question(request: HttpRequest, round_: Round) -> HttpResponse:
    asked = _asked(round_)
    before, word, after = asked.rpartition(round_.word.base)
    return render(
        request,
        "game/round.html",
        {
            "round": round_,
            "before": before,
            "word": word,
            "after": after,
            "question": asked,
            "seconds": SECONDS[Relation(round_.word.relation)],
            "left": rounds.seconds_left(round_),
            "boxes": range(BOXES),
        },
    )


def _result(request: HttpRequest, round_: Round) -> HttpResponse:
    answers = _ANSWERS(round=round_.pk)
    own = {answer.stem for answer in answers}
    top = answer_counts.top_answers(round_.word)
    today_rounds, today_points = player_stats.today(round_.player)
    return render(
        request,
        "game/result.html",
        {
            "round": round_,
            "question": _asked(round_),
            "answers": answers,
            "most": 100 + LISTED_BONUS,
            "top": top,
            "shown_from": answer_counts.SHOWN_FROM,
            "own": own,
            "missed": _missed(round_, own | {answer.stem for answer in top}),
            "today": {"rounds": today_rounds, "points": today_points},
        },
    )


def _missed(round_: Round, known: set[str]) -> list[str]:
    """The best known answers that WordNet lists and that may be shown, beside those whose stems the
    page has already."""
    listed = words.table().listed(Relation(round_.word.relation), round_.word.base)
    plain = (
        text for text in listed if text.isalpha() and stem(text) not in known and not is_slur(text)
    )
    return list(islice(plain, MISSED))


_ANSWERS = Prepared(
    lambda: Answer.objects.select_related("challenge").filter(round=Slot("round", UUIDField()))
)
