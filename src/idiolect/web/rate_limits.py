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

from idiolect.web.models import Pace

Args = ParamSpec("Args")
View = Callable[Concatenate[HttpRequest, Args], HttpResponse]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """``burst`` times at once, then one more every ``seconds``."""

    name: str
    burst: int
    seconds: float


SIGN_IN_HERE = Limit(name="sign-in from an address", burst=40, seconds=3.0)
SIGN_IN_AS = Limit(name="sign-in as somebody from an address", burst=6, seconds=20.0)
SIGN_IN_ANYWHERE = Limit(name="sign-in as somebody", burst=60, seconds=10.0)
"""Three of them: one guesser, one guesser of one name, many guessers of one name."""
SIGN_UP = Limit(name="sign-up", burst=60, seconds=20.0)
"""A school class behind one address can sign up; a script gets three accounts a minute."""
BEGIN = Limit(name="guest", burst=240, seconds=1.0)
PASSWORD = Limit(name="password", burst=6, seconds=20.0)
SUBMIT = Limit(name="submission", burst=30, seconds=1.0)
"""A hurried player sends one round in 10 s, and 25 votes in 20 s of Nym or Not."""


_TAKE = """
INSERT INTO server_pace (key, free_at) VALUES (%(key)s, %(now)s + %(cost)s)
ON CONFLICT (key) DO UPDATE
SET free_at = CASE WHEN server_pace.free_at > %(now)s THEN server_pace.free_at ELSE %(now)s END
    + %(cost)s
WHERE server_pace.free_at <= %(now)s + %(room)s
RETURNING free_at
"""


def wait(limit: Limit, who: str, *, now: float | None = None) -> float:
    """Count one more of ``limit`` for ``who``: 0.0 where it is allowed, else the seconds to wait.

    What is refused is not counted. ``now`` is seconds since 1970, the clock's unless given.
    """
    now = time.time() if now is None else now
    key = _key(limit, who)
    room = (limit.burst - 1) * limit.seconds
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, {"key": key, "now": now, "cost": limit.seconds, "room": room})
        if cursor.fetchone() is not None:
            return 0.0
    free_at = Pace.objects.filter(key=key).values_list("free_at", flat=True).first() or now
    return max(free_at - room - now, 0.001)


def forget_old(now: float | None = None) -> None:
    """Remove what no longer limits anybody."""
    Pace.objects.filter(free_at__lt=time.time() if now is None else now).delete()


def _key(limit: Limit, who: str) -> str:
    text = f"{limit.name}\0{who}".encode()
    return hmac.new(settings.SECRET_KEY.encode(), text, hashlib.sha256).hexdigest()


def address(request: HttpRequest) -> str:
    """Where a request comes from; a whole /64 counts as one, since one customer has that many."""
    text = str(request.META.get("REMOTE_ADDR", ""))
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return text
    if found.version == 6:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return text


def player_or_address(request: HttpRequest) -> str:
    """The player where there is one, else the address."""
    user = request.user
    return f"player {user.pk}" if user.is_authenticated else address(request)


def limited(
    limit: Limit, by: Callable[[HttpRequest], str] = player_or_address
) -> Callable[[View[Args]], View[Args]]:
    """A view whose POST requests are limited; more than that get a page with status 429."""

    def around(view: View[Args]) -> View[Args]:
        @wraps(view)
        def answer(request: HttpRequest, *args: Args.args, **kwargs: Args.kwargs) -> HttpResponse:
            seconds = wait(limit, by(request)) if request.method == "POST" else 0.0
            return too_many(request, seconds) if seconds else view(request, *args, **kwargs)

        return answer

    return around


def too_many(request: HttpRequest, seconds: float) -> HttpResponse:
    """The page that says how long to wait."""
    whole = math.ceil(seconds)
    response = render(request, "site/429.html", {"seconds": whole}, status=429)
    response["Retry-After"] = str(whole)
    return response
