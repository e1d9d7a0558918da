"""Who may see a page of the game, and what is said when something does not go: decorators."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from idiolect.errors import DataError, IdiolectError, MissingError, UsageError
from idiolect.web.accounts.players import get_current_player
from idiolect.web.game import consent

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

_CONSENT_KEY = "nyms-agreed"
_STATUS_BY_ERROR: dict[type[IdiolectError], int] = {
    MissingError: 404,
    UsageError: 409,
    DataError: 400,
}


def render_errors(view: View[P]) -> View[P]:
    """Errors that are for people become a page that says them."""

    @wraps(view)
    def handle_request(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except (MissingError, UsageError, DataError) as error:
            return render(
                request,
                "game/problem.html",
                {"problem": str(error)},
                status=_STATUS_BY_ERROR[type(error)],
            )

    return handle_request


def has_agreed(request: HttpRequest) -> bool:
    """Whether the player behind a request agreed to the notice as it is now.

    A session that says so belongs to the player who did: it ends when another one signs in.
    """
    player = get_current_player(request)
    if player is None:
        return False
    if request.session.get(_CONSENT_KEY) == consent.NOTICE_VERSION:
        return True
    if consent.has_agreed(player):
        request.session[_CONSENT_KEY] = consent.NOTICE_VERSION
        return True
    return False


def require_consent(view: View[P]) -> View[P]:
    """Only for players who agreed to the notice; others see it first."""

    @wraps(view)
    def handle_request(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not has_agreed(request):
            return redirect("game:notice")
        return view(request, *args, **kwargs)

    return handle_request


def get_player(request: HttpRequest) -> Any:
    """The player behind a page that is `agreed`."""
    player = get_current_player(request)
    assert player is not None
    return player
