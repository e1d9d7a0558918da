"""Pages for challenges: send one for an own answer, and list the own challenges."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from idiolect.game.rules.scoring import LISTED_BONUS
from idiolect.web.game import challenges
from idiolect.web.game.views.own import PAGE_SIZE
from idiolect.web.game.views.players import get_player, render_errors, require_consent
from idiolect.web.rate_limits import SUBMIT, rate_limit


class ChallengeForm(forms.Form):
    """The form for a challenge: one sentence."""

    sentence = forms.CharField(
        label="A sentence that shows why",
        min_length=8,
        max_length=200,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autofocus": True}),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@rate_limit(SUBMIT)
@render_errors
@require_consent
def challenge_answer(request: HttpRequest, answer_id: int) -> HttpResponse:
    """Show the challenge form for one answer; a POST submits the sentence."""
    player = get_player(request)
    answer = challenges.find_answer(player, answer_id)
    form = ChallengeForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        challenges.submit_challenge(player, answer_id, form.cleaned_data["sentence"])
        messages.success(request, "Thank you. A moderator will read it.")
        return redirect("game:challenges")
    # A form with errors is shown again with status 422.
    return render(
        request,
        "game/challenge.html",
        {"answer": answer, "form": form, "bonus": LISTED_BONUS},
        status=422 if form.is_bound else 200,
    )


@require_safe
@require_consent
def show_challenges(request: HttpRequest) -> HttpResponse:
    """List the player's challenges and their verdicts, latest first."""
    found = Paginator(challenges.list_challenges(get_player(request)), PAGE_SIZE)
    page = found.get_page(request.GET.get("page"))
    return render(request, "game/challenges.html", {"page": page})
