"""Password hashes that take much memory, but for few passwords at a time.

Argon2 takes 100 MB for each hash, so that guessing passwords from a stolen database is slow. If
each request took as much at once, a few dozen of them would use up the memory of the server.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator

from django.contrib.auth.hashers import Argon2PasswordHasher
from django.http import HttpRequest, HttpResponse

from idiolect.web.security import build_plain_answer

MAX_HASHES = 2
"""Hashes that one process computes at a time; each takes about 0.1 seconds and all cores."""
MAX_WAIT = 10.0
"""Seconds that a hash waits for its turn. On the server, requests with a password wait in a queue
of their own (``asgi.py``), and this limit is reached only if a page is missing there."""

_TURNS = threading.BoundedSemaphore(MAX_HASHES)


class BusyHashingError(Exception):
    """Too many passwords are checked at the moment; the request may be sent again later."""


class Argon2InTurn(Argon2PasswordHasher):
    """Django's Argon2 hasher; the hashes are the same, but computed ``MAX_HASHES`` at a time.

    Raises BusyHashingError if the turn does not come in ``MAX_WAIT`` seconds. Django also hashes
    the password of a name that has no account: so neither time nor turns tell which names exist.
    """

    def encode(self, password: str, salt: str) -> str:
        """Return the hash of a password."""
        with _take_turn():
            return super().encode(password, salt)

    def verify(self, password: str, encoded: str) -> bool:
        """Return whether the password has this hash."""
        with _take_turn():
            return super().verify(password, encoded)


@contextlib.contextmanager
def _take_turn() -> Generator[None]:
    if not _TURNS.acquire(timeout=MAX_WAIT):
        raise BusyHashingError
    try:
        yield
    finally:
        _TURNS.release()


class AnswerWhenBusy:
    """Middleware that answers 503 to a request whose password could not be checked in time."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Return the response."""
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the answer 503 to BusyHashingError; leave other errors to Django."""
        if not isinstance(exception, BusyHashingError):
            return None
        headers, text = build_plain_answer(503, "The site is busy. Try again in a few seconds.")
        response = HttpResponse(text, status=503)
        for name, value in headers:
            response[name.decode()] = value.decode()
        return response
