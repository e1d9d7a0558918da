"""Pages of a player's own model: its status, training, deletion and predictions for a round."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from idiolect.game.rules.answers import stem
from idiolect.web.game import rounds
from idiolect.web.game.models import Round
from idiolect.web.game.views.players import get_player, render_errors, require_consent
from idiolect.web.my_model import service
from idiolect.web.my_model.models import PredictedAnswers
from idiolect.web.rate_limits import SUBMIT, rate_limit


@require_http_methods(["GET", "HEAD", "POST"])
@rate_limit(SUBMIT)
@render_errors
@require_consent
def show_model(request: HttpRequest) -> HttpResponse:
    """Show the status of the player's model; a POST queues its training.

    htmx requests get only the part of the page that changes during training.
    """
    player = get_player(request)
    if request.method == "POST":
        service.request_training(player)
        return redirect("my_model:model")
    partial = bool(getattr(request, "htmx", False))
    return render(
        request,
        "my_model/status.html" if partial else "my_model/model.html",
        {"status": service.get_status(player), "least": service.MIN_ROUNDS},
    )


@require_POST
@rate_limit(SUBMIT)
@render_errors
@require_consent
def delete_model(request: HttpRequest) -> HttpResponse:
    """Delete the player's model and keep their rounds."""
    service.delete_model(get_player(request))
    return redirect("my_model:model")


@require_safe
@render_errors
@require_consent
def show_answers(request: HttpRequest, round_id: UUID) -> HttpResponse:
    """Show what the player's model would have answered in a round.

    htmx requests get only the part that the result page includes.
    """
    round_ = rounds.get_round(get_player(request), round_id)
    # The first request of this page queues the prediction; htmx then polls until it is there.
    state, guess = service.find_or_request_prediction(round_)
    context = {
        "round": round_,
        "state": state,
        "guess": guess,
        "sides": _build_sides(round_, guess) if guess else (),
        "status": service.get_status(round_.player),
    }
    partial = bool(getattr(request, "htmx", False))
    page = "my_model/answers.html" if partial else "my_model/answers_page.html"
    return render(request, page, context)


def _build_sides(
    round_: Round, guess: PredictedAnswers
) -> list[tuple[str, list[tuple[str, bool]]]]:
    """Return for each model a heading and its answers, with whether the player gave them too.

    Answers are compared by stem, as in the counts.
    """
    given = {answer.stem for answer in round_.answers.all()}
    sides = {
        "What it would have answered": guess.own,
        "The same model without your answers": guess.plain,
    }
    return [
        (heading, [(text, stem(text) in given) for text in texts])
        for heading, texts in sides.items()
    ]
