"""Decorators for the game's views: they require consent and turn errors into pages."""

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
# The HTTP status for each kind of error whose message is meant for users.
_STATUS_BY_ERROR: dict[type[IdiolectError], int] = {
    MissingError: 404,
    UsageError: 409,
    DataError: 400,
}


def render_errors(view: View[P]) -> View[P]:
    """Make the view show a page with the message if it raises an error for users."""

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
    """Return whether the player of this request agreed to the current version of the notice.

    The session caches the answer. That is safe because signing in as another player ends the
    session.
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
    """Make the view redirect players who have not agreed to the notice to the notice."""

    @wraps(view)
    def handle_request(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not has_agreed(request):
            return redirect("game:notice")
        return view(request, *args, **kwargs)

    return handle_request


def get_player(request: HttpRequest) -> Any:
    """Return the player of a request; only for views with `require_consent`."""
    player = get_current_player(request)
    assert player is not None
    return player
