"""How often somebody may do something: sign in, make guests, send answers.

A limit allows a burst and then one more every so many seconds. All it keeps is one number a person
and thing, the moment at which their burst is whole again (the "generic cell rate algorithm"); it
changes in one statement, so that any number of processes count together.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, ParamSpec

from django.conf import settings
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from idiolect.web.models import RateBucket

Args = ParamSpec("Args")
View = Callable[Concatenate[HttpRequest, Args], HttpResponse]


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """``burst`` times at once, then one more every ``seconds``."""

    name: str
    burst: int
    seconds: float


SIGN_IN_BY_ADDRESS = RateLimit(name="sign-in from an address", burst=40, seconds=3.0)
SIGN_IN_BY_ADDRESS_AND_NAME = RateLimit(
    name="sign-in as somebody from an address", burst=6, seconds=20.0
)
SIGN_IN_BY_NAME = RateLimit(name="sign-in as somebody", burst=60, seconds=10.0)
"""Three of them: one guesser, one guesser of one name, many guessers of one name."""
SIGN_UP = RateLimit(name="sign-up", burst=60, seconds=20.0)
"""A school class behind one address can sign up; a script gets three accounts a minute."""
CREATE_GUEST = RateLimit(name="guest", burst=240, seconds=1.0)
PASSWORD = RateLimit(name="password", burst=6, seconds=20.0)
SUBMIT = RateLimit(name="submission", burst=30, seconds=1.0)
"""A hurried player sends one round in 10 s, and 25 votes in 20 s of Nym or Not."""


_TAKE_SQL = """
INSERT INTO server_pace (key, free_at) VALUES (%(key)s, %(now)s + %(cost)s)
ON CONFLICT (key) DO UPDATE
SET free_at = CASE WHEN server_pace.free_at > %(now)s THEN server_pace.free_at ELSE %(now)s END
    + %(cost)s
WHERE server_pace.free_at <= %(now)s + %(room)s
RETURNING free_at
"""


def check_limit(limit: RateLimit, who: str, *, now: float | None = None) -> float:
    """Count one more of ``limit`` for ``who``: 0.0 where it is allowed, else the seconds to wait.

    What is refused is not counted. ``now`` is seconds since 1970, the clock's unless given.
    """
    now = time.time() if now is None else now
    key = _hash_key(limit, who)
    room = (limit.burst - 1) * limit.seconds
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_SQL, {"key": key, "now": now, "cost": limit.seconds, "room": room})
        if cursor.fetchone() is not None:
            return 0.0
    free_at = RateBucket.objects.filter(key=key).values_list("free_at", flat=True).first() or now
    return max(free_at - room - now, 0.001)


def delete_expired(now: float | None = None) -> None:
    """Remove what no longer limits anybody."""
    RateBucket.objects.filter(free_at__lt=time.time() if now is None else now).delete()


def _hash_key(limit: RateLimit, who: str) -> str:
    text = f"{limit.name}\0{who}".encode()
    return hmac.new(settings.SECRET_KEY.encode(), text, hashlib.sha256).hexdigest()


def get_client_address(request: HttpRequest) -> str:
    """Where a request comes from; a whole /64 counts as one, since one customer has that many."""
    text = str(request.META.get("REMOTE_ADDR", ""))
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return text
    if found.version == 6:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return text


def get_player_or_address(request: HttpRequest) -> str:
    """The player where there is one, else the address."""
    user = request.user
    return f"player {user.pk}" if user.is_authenticated else get_client_address(request)


def rate_limit(
    limit: RateLimit, by: Callable[[HttpRequest], str] = get_player_or_address
) -> Callable[[View[Args]], View[Args]]:
    """A view whose POST requests are limited; more than that get a page with status 429."""

    def decorate_view(view: View[Args]) -> View[Args]:
        @wraps(view)
        def handle_request(
            request: HttpRequest, *args: Args.args, **kwargs: Args.kwargs
        ) -> HttpResponse:
            seconds = check_limit(limit, by(request)) if request.method == "POST" else 0.0
            return render_too_many(request, seconds) if seconds else view(request, *args, **kwargs)

        return handle_request

    return decorate_view


def render_too_many(request: HttpRequest, seconds: float) -> HttpResponse:
    """The page that says how long to wait."""
    whole = math.ceil(seconds)
    response = render(request, "site/429.html", {"seconds": whole}, status=429)
    response["Retry-After"] = str(whole)
    return response
