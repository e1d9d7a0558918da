"""The player of a request: an account, a guest, or none yet."""

from __future__ import annotations

from typing import cast

from django.contrib.auth import login
from django.http import HttpRequest
from django.utils import timezone

from idiolect.web.accounts.models import User

_RENEWED = "renewed"
"""Key of the session: the last day on which it was renewed."""
BACKEND = "idiolect.web.accounts.backends.Accounts"


def get_current_player(request: HttpRequest) -> User | None:
    """Return the player; None for a visitor who has not begun to play."""
    return cast(User, request.user) if request.user.is_authenticated else None


def get_player_or_create_guest(request: HttpRequest) -> User:
    """Return the player; a visitor becomes a guest with a new session.

    Use it only in POST requests that begin a game: viewing pages must not create guests.
    """
    found = get_current_player(request)
    if found is None:
        found = User.objects.create_guest()
        login(request, found, backend=BACKEND)
    return found


def renew_session(request: HttpRequest) -> None:
    """Let the session last its whole time again; writes it at most once a day.

    Call it when a game starts: a guest who plays must not end.
    """
    today = timezone.now().date().isoformat()
    if request.session.get(_RENEWED) != today:
        request.session[_RENEWED] = today
