"""Decorators for the game's views: they require consent and turn errors into pages."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from idiolect.errors import IdiolectError
from idiolect.web.accounts.players import get_current_player
from idiolect.web.accounts.problems import UNEXPECTED, PlayerError
from idiolect.web.game import consent

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

_log = logging.getLogger(__name__)
_CONSENT_KEY = "nyms-agreed"


def render_errors(view: View[P]) -> View[P]:
    """Make the view show a page with the message if it raises an error for players."""

    @wraps(view)
    def handle_request(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except PlayerError as error:
            return render(
                request, "game/problem.html", {"problem": str(error)}, status=error.status
            )
        except IdiolectError:  # may name paths: only log it
            _log.exception("%s failed", request.path)
            return render(request, "game/problem.html", {"problem": UNEXPECTED}, status=500)

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
