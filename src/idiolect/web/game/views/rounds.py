"""Pages of a round: start, question, result and skip.

The form contains answers and nothing else, so a browser cannot influence the word or the time.
"""

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
from idiolect.game.rules.relations import ROUND_SECONDS, Relation, format_question
from idiolect.game.rules.scoring import LISTED_BONUS
from idiolect.web.accounts.players import renew_session
from idiolect.web.game import answer_counts, player_stats, rounds
from idiolect.web.game.models import Answer, Round, State
from idiolect.web.game.views.choices import get_choices, save_choices
from idiolect.web.game.views.players import get_player, render_errors, require_consent
from idiolect.web.prepared_queries import PreparedQuery, QueryParameter
from idiolect.web.rate_limits import SUBMIT, rate_limit

ANSWER_BOXES = 8
"""Number of input boxes in the HTML form; the page's script shows them one at a time."""
MAX_MISSED_ANSWERS = 8
"""Number of further WordNet answers on a result page; only single words, because phrases are often
technical terms."""


def start_round(request: HttpRequest) -> HttpResponse:
    """Start a round with the visitor's choices, or continue the open one; redirect to it."""
    chosen = get_choices(request)
    renew_session(request)
    opened = rounds.start_round(
        get_player(request),
        chosen.relations,
        untimed=chosen.untimed,
        draw=_make_unpredictable_random(),
    )
    return redirect("game:round", opened.pk)


def _make_unpredictable_random() -> Random:
    """Return a generator that players cannot predict.

    One random seed from the operating system is enough, and faster than a system call per number.
    """
    return Random(secrets.randbits(256))


@require_POST
@rate_limit(SUBMIT)
@render_errors
def play_round(request: HttpRequest) -> HttpResponse:
    """Store the choices and start a round; a player without consent sees the notice first."""
    save_choices(request, request.POST)
    return _start_if_agreed(request)


@require_consent
def _start_if_agreed(request: HttpRequest) -> HttpResponse:
    return start_round(request)


@require_http_methods(["GET", "HEAD", "POST"])
@rate_limit(SUBMIT)
@render_errors
@require_consent
def show_round(request: HttpRequest, round_id: UUID) -> HttpResponse:
    """Show the question of an open round, or the result of one that ended.

    A POST submits the answers and redirects to the result.
    """
    player = get_player(request)
    if request.method == "POST":
        # Redirect after the POST, so that a reload of the result sends nothing again.
        rounds.submit_answers(player, round_id, request.POST.getlist("answer"))
        return redirect("game:round", round_id)
    round_ = rounds.get_round(player, round_id)
    if round_.state == State.OPEN:
        return _render_question(request, round_)
    if round_.state == State.FINISHED:
        return _render_result(request, round_)
    return render(
        request, "game/round_over.html", {"round": round_, "question": _format_question(round_)}
    )


@require_POST
@rate_limit(SUBMIT)
@render_errors
@require_consent
def skip_round(request: HttpRequest, round_id: UUID) -> HttpResponse:
    """Skip the round and start the next one."""
    rounds.skip_round(get_player(request), round_id)
    return start_round(request)


def _format_question(round_: Round) -> str:
    word, relation = round_.word.base, Relation(round_.word.relation)
    return format_question(relation, word, words.load_table().get_determiner(word))


def _render_question(request: HttpRequest, round_: Round) -> HttpResponse:
    question = _format_question(round_)
    # The template shows the word in large type, between the rest of the question.
    before, word, after = question.rpartition(round_.word.base)
    return render(
        request,
        "game/round.html",
        {
            "round": round_,
            "before": before,
            "word": word,
            "after": after,
            "question": question,
            "seconds": ROUND_SECONDS[Relation(round_.word.relation)],
            "left": rounds.compute_seconds_left(round_),
            "boxes": range(ANSWER_BOXES),
        },
    )


def _render_result(request: HttpRequest, round_: Round) -> HttpResponse:
    # Own answers, other players' top answers, and answers that only WordNet has.
    answers = _ROUND_ANSWERS(round=round_.pk)
    own = {answer.stem for answer in answers}
    top = answer_counts.list_top_answers(round_.word)
    today_rounds, today_points = player_stats.count_today(round_.player)
    return render(
        request,
        "game/result.html",
        {
            "round": round_,
            "question": _format_question(round_),
            "answers": answers,
            # The longest possible bar in the chart.
            "most": 100 + LISTED_BONUS,
            "top": top,
            "shown_from": answer_counts.MIN_PLAYERS_TO_SHOW,
            "own": own,
            "missed": _find_missed_answers(round_, own | {answer.stem for answer in top}),
            "today": {"rounds": today_rounds, "points": today_points},
        },
    )


def _find_missed_answers(round_: Round, known: set[str]) -> list[str]:
    """Return WordNet's most common answers that may be shown, without those in ``known``."""
    listed = words.load_table().list_answers(Relation(round_.word.relation), round_.word.base)
    plain = (
        text for text in listed if text.isalpha() and stem(text) not in known and not is_slur(text)
    )
    return list(islice(plain, MAX_MISSED_ANSWERS))


_ROUND_ANSWERS = PreparedQuery(
    lambda: Answer.objects.select_related("challenge").filter(
        round=QueryParameter("round", UUIDField())
    )
)
