"""The home page, where visitors choose relations, and the notice page."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_safe

from idiolect.game.rules.relations import ROUND_SECONDS, Relation
from idiolect.web.accounts.players import get_current_player, get_player_or_create_guest
from idiolect.web.game import consent, player_stats
from idiolect.web.game.views.choices import get_choices
from idiolect.web.game.views.pairs import start_pair_session
from idiolect.web.game.views.players import has_agreed, render_errors
from idiolect.web.game.views.rounds import start_round
from idiolect.web.rate_limits import CREATE_GUEST, rate_limit

RELATION_EXAMPLES = {
    Relation.SYNONYMS: ("Synonyms", "another word for happy", "glad, cheerful"),
    Relation.ANTONYMS: ("Antonyms", "the opposite of early", "late, tardy"),
    Relation.HYPONYMS: ("Hyponyms", "kinds of bird", "robin, owl, penguin"),
    Relation.MERONYMS: ("Meronyms", "parts of a bicycle", "wheel, saddle, chain"),
}
"""What the home page shows for each relation: name, example question and example answers."""


@require_safe
def show_home(request: HttpRequest) -> HttpResponse:
    """Show the home page."""
    player = get_current_player(request)
    chosen = get_choices(request)
    relations = [
        {
            "value": relation.value,
            "name": name,
            "question": question,
            "answers": answers,
            "seconds": ROUND_SECONDS[relation],
            "chosen": relation in chosen.relations,
        }
        for relation, (name, question, answers) in RELATION_EXAMPLES.items()
    ]
    return render(
        request,
        "game/home.html",
        {
            "relations": relations,
            "untimed": chosen.untimed,
            "stats": player_stats.compute_stats(player) if player is not None else None,
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@render_errors
@rate_limit(CREATE_GUEST)
def show_notice(request: HttpRequest) -> HttpResponse:
    """Show the notice; a POST stores consent, makes a visitor a guest and starts a game."""
    if request.method == "POST":
        # No account exists before this point: a visitor who does not agree leaves no data.
        player = get_player_or_create_guest(request)
        consent.record_consent(player)
        start = start_pair_session if request.POST.get("for") == "pairs" else start_round
        return start(request)
    return render(
        request,
        "game/notice.html",
        {
            "agreed": has_agreed(request),
            "guest_days": settings.SESSION_COOKIE_AGE // 86_400,
            "wanted": request.GET.get("for", ""),
        },
    )
