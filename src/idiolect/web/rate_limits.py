"""Rate limits: how often a person or address may sign in, create guests or send answers.

A limit allows a burst and then one request per interval (the "generic cell rate algorithm"). It
stores one number per person and limit: the time at which the whole burst is available again. One
SQL statement checks and updates it, so that all processes of the site count together.

The number is a time of the wall clock. If the clock is set back, a stored time can lie further in
the future than any burst reaches; it then counts as the current time, so that no limit refuses for
longer than one interval.
"""

from __future__ import annotations

import hashlib
import hmac
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

from idiolect.web.config.addresses import group_address
from idiolect.web.models import RateBucket

Args = ParamSpec("Args")
View = Callable[Concatenate[HttpRequest, Args], HttpResponse]


@dataclass(frozen=True, kw_only=True)
class RateLimit:
    """Allows ``burst`` requests at once, then one more every ``seconds``."""

    name: str
    """Part of the stored key: two limits with one name count together."""
    burst: int
    seconds: float


SIGN_IN_BY_ADDRESS = RateLimit(name="sign-in from an address", burst=40, seconds=3.0)
SIGN_IN_BY_ADDRESS_AND_NAME = RateLimit(
    name="sign-in to an account from an address", burst=6, seconds=20.0
)
SIGN_IN_BY_NAME = RateLimit(name="sign-in to an account", burst=60, seconds=10.0)
"""Three limits: against one address that guesses passwords of many accounts, against one address
that guesses the password of one account, and against many addresses that guess one account."""
SIGN_IN_BY_DEVICE = RateLimit(name="sign-in from a known browser", burst=6, seconds=20.0)
"""Instead of the three: a browser that has signed in to the account before is counted alone, so
that strangers cannot lock the account for its owner (``accounts/devices.py``)."""
SIGN_UP = RateLimit(name="sign-up", burst=60, seconds=20.0)
"""By address. A school class behind one address can sign up; after that, a script gets three
accounts per minute."""
CREATE_GUEST = RateLimit(name="guest", burst=240, seconds=1.0)
PASSWORD = RateLimit(name="password", burst=6, seconds=20.0)
SUBMIT = RateLimit(name="submission", burst=30, seconds=1.0)
"""A fast player sends one round in 10 s, and 25 votes in 20 s of Nym or Not."""

# Moves the time forward by the cost of one request, unless the burst is used up: then the WHERE
# matches nothing and no row comes back. A time after the horizon comes from before the clock was
# set back, and counts as now.
_TAKE_SQL = """
INSERT INTO server_pace (key, free_at) VALUES (%(key)s, %(now)s + %(cost)s)
ON CONFLICT (key) DO UPDATE
SET free_at = CASE WHEN server_pace.free_at BETWEEN %(now)s AND %(horizon)s
    THEN server_pace.free_at ELSE %(now)s END + %(cost)s
WHERE server_pace.free_at <= %(now)s + %(room)s OR server_pace.free_at > %(horizon)s
RETURNING free_at
"""

_CLOCK_SLACK = 1.0
"""Seconds by which the clocks of two servers with one database may differ."""
_LONGEST_BURST = 86_400.0
"""Seconds; the burst of each limit is available again after less time than this."""


def check_limit(limit: RateLimit, who: str, *, now: float | None = None) -> float:
    """Count a request of ``who`` against ``limit``.

    Args:
        limit: the limit.
        who: any text that identifies the person or address; stored only as a hash.
        now: seconds since 1970; by default the current time.

    Returns:
        0.0 if the request is allowed, else the number of seconds to wait. A refused request does
        not count.
    """
    now = time.time() if now is None else now
    key = _hash_key(limit, who)
    # A request is allowed if the stored time is at most burst - 1 intervals after now.
    room = (limit.burst - 1) * limit.seconds
    values = {"key": key, "now": now, "cost": limit.seconds, "room": room}
    values["horizon"] = now + limit.burst * limit.seconds + _CLOCK_SLACK
    with connection.cursor() as cursor:
        cursor.execute(_TAKE_SQL, values)
        if cursor.fetchone() is not None:
            return 0.0
    # Refused: read how long to wait. Another process may have deleted the row meanwhile.
    free_at = RateBucket.objects.filter(key=key).values_list("free_at", flat=True).first() or now
    return max(free_at - room - now, 0.001)


def delete_expired(now: float | None = None) -> None:
    """Delete the rows whose whole burst is available again, or that a changed clock left."""
    now = time.time() if now is None else now
    RateBucket.objects.exclude(free_at__range=(now, now + _LONGEST_BURST)).delete()


def _hash_key(limit: RateLimit, who: str) -> str:
    """Return a keyed hash: without the site's secret it cannot be compared with guessed names."""
    text = f"{limit.name}\0{who}".encode()
    return hmac.new(settings.SECRET_KEY.encode(), text, hashlib.sha256).hexdigest()


def get_client_address(request: HttpRequest) -> str:
    """Return the text that limits count for the client's address (``group_address``)."""
    return group_address(str(request.META.get("REMOTE_ADDR", "")))


def get_player_or_address(request: HttpRequest) -> str:
    """Return a key for the player of the request, or the client's address without a player."""
    user = request.user
    return f"player {user.pk}" if user.is_authenticated else get_client_address(request)


def rate_limit(
    limit: RateLimit, by: Callable[[HttpRequest], str] = get_player_or_address
) -> Callable[[View[Args]], View[Args]]:
    """Decorate a view so that its POST requests are limited.

    Args:
        limit: the limit.
        by: function from a request to the person or address that it counts for.
    """

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
    """Answer 429 with a page that says how long to wait; ``seconds`` are rounded up."""
    whole = math.ceil(seconds)
    response = render(request, "site/429.html", {"seconds": whole}, status=429)
    response["Retry-After"] = str(whole)
    return response
