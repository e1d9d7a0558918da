"""The player behind a request: an account, a guest, or nobody yet."""

from __future__ import annotations

from typing import cast

from django.contrib.auth import login
from django.http import HttpRequest

from idiolect.web.accounts.models import User

BACKEND = "idiolect.web.accounts.backends.Accounts"


def get_current_player(request: HttpRequest) -> User | None:
    """Who is playing; ``None`` for a visitor who has not begun."""
    return cast(User, request.user) if request.user.is_authenticated else None


def get_player_or_create_guest(request: HttpRequest) -> User:
    """Who is playing; a visitor becomes a guest with a session of their own.

    For POST requests that begin something: looking at pages makes nobody a guest.
    """
    found = get_current_player(request)
    if found is None:
        found = User.objects.create_guest()
        login(request, found, backend=BACKEND)
    return found
