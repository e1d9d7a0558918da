"""Who may see a page of the game, and what is said when something does not go: decorators."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from idiolect.errors import DataError, IdiolectError, MissingError, UsageError
from idiolect.web.accounts.players import current_player
from idiolect.web.game import consent

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

_AGREED = "nyms-agreed"
_STATUS: dict[type[IdiolectError], int] = {MissingError: 404, UsageError: 409, DataError: 400}


def explained(view: View[P]) -> View[P]:
    """Errors that are for people become a page that says them."""

    @wraps(view)
    def answer(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except (MissingError, UsageError, DataError) as error:
            return render(
                request, "game/problem.html", {"problem": str(error)}, status=_STATUS[type(error)]
            )

    return answer


def has_agreed(request: HttpRequest) -> bool:
    """Whether the player behind a request agreed to the notice as it is now.

    A session that says so belongs to the player who did: it ends when another one signs in.
    """
    player = current_player(request)
    if player is None:
        return False
    if request.session.get(_AGREED) == consent.VERSION:
        return True
    if consent.has_agreed(player):
        request.session[_AGREED] = consent.VERSION
        return True
    return False


def agreed(view: View[P]) -> View[P]:
    """Only for players who agreed to the notice; others see it first."""

    @wraps(view)
    def answer(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not has_agreed(request):
            return redirect("game:notice")
        return view(request, *args, **kwargs)

    return answer


def player_of(request: HttpRequest) -> Any:
    """The player behind a page that is `agreed`."""
    player = current_player(request)
    assert player is not None
    return player
