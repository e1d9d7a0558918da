"""Known browsers: a signed cookie names the accounts that a browser has signed in to.

Limits on guessing must not lock people out of their own accounts. So sign-in from a browser that
has signed in to the account before is counted for that browser, and not with the tries of
strangers: OWASP, "Slow down online guessing attacks with device cookies".

The cookie holds one entry for each account: a keyed hash of the name, and a random number that
names the browser. It signs in to nothing: a thief gets a few more tries to guess the password.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import cast

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse

COOKIE = "devices"
MAX_AGE = 365 * 86_400
"""Seconds since the last sign-in for which a browser stays known."""
MAX_ACCOUNTS = 5
"""Accounts that one browser is known to; the one that signed in longest ago is dropped first."""
_SALT = "idiolect.web.accounts.devices"


def find_device(request: HttpRequest, name_key: str) -> str | None:
    """Return the number of a browser that has signed in to the account with that name key.

    None for any other browser, also if the cookie is forged, expired or of another account.
    """
    return _read_cookie(request).get(_hash_name(name_key))


def remember_device(request: HttpRequest, response: HttpResponse, name_key: str) -> None:
    """Make the browser known to the account; call this after a sign-in.

    A known browser keeps its number: with a new one for each sign-in, one account could collect
    any number of them, each with tries of its own.
    """
    known = _read_cookie(request)
    tag = _hash_name(name_key)
    known[tag] = known.pop(tag, None) or secrets.token_urlsafe(16)
    _set_cookie(response, dict([*known.items()][-MAX_ACCOUNTS:]))


def forget_device(request: HttpRequest, response: HttpResponse, name_key: str) -> None:
    """Remove the account from the browser's cookie; call this when the account is deleted."""
    known = _read_cookie(request)
    known.pop(_hash_name(name_key), None)
    if known:
        _set_cookie(response, known)
    else:
        response.delete_cookie(COOKIE)


def _read_cookie(request: HttpRequest) -> dict[str, str]:
    """Return the entries of the cookie: from the hash of a name to the number of the browser."""
    text = request.COOKIES.get(COOKIE, "")
    try:
        return cast("dict[str, str]", signing.loads(text, salt=_SALT, max_age=MAX_AGE))
    except signing.BadSignature:
        return {}


def _set_cookie(response: HttpResponse, known: dict[str, str]) -> None:
    response.set_cookie(
        COOKIE,
        signing.dumps(known, salt=_SALT),
        max_age=MAX_AGE,
        httponly=True,
        secure=settings.SESSION_COOKIE_SECURE,
        samesite="Strict",
    )


def _hash_name(name_key: str) -> str:
    """Return a keyed hash, so that the cookie does not show who uses the browser."""
    text = f"{_SALT}\0{name_key}".encode()
    return hmac.new(settings.SECRET_KEY.encode(), text, hashlib.sha256).hexdigest()[:32]
