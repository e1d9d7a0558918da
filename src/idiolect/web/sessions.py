"""Session store in the database: knows the owner of each session, so that deleting a person deletes
their sessions, and reads with a prepared query, since every page reads it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends import db
from django.db.models import CharField, DateTimeField
from django.utils import timezone

from idiolect.web.accounts.players import BACKEND
from idiolect.web.models import Session
from idiolect.web.prepared_queries import PreparedQuery, QueryParameter

FORMER_BACKENDS = ("idiolect.server.accounts.backends.Accounts",)
"""Former names of ``BACKEND``, which a session stores at sign-in."""


class SessionStore(db.SessionStore):
    """Django's session store in the database, with an owner and a prepared query."""

    @classmethod
    def get_model_class(cls) -> Any:
        """Return the site's own table."""
        return Session

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        """Return the row to save, with the user that the session's data names as its owner."""
        row: Any = super().create_model_instance(data)
        row.owner_id = data.get(SESSION_KEY)
        return row

    def decode(self, session_data: bytes | str) -> dict[str, Any]:
        """Decode a session; one from before a renaming of the backend stays signed in.

        Django signs out users of an unknown backend, and a guest could not sign in again.
        """
        data = super().decode(session_data)
        if data.get(BACKEND_SESSION_KEY) in FORMER_BACKENDS:
            data[BACKEND_SESSION_KEY] = BACKEND
        return data

    @classmethod
    def shorten_too_long(cls) -> None:
        """Let no session last longer than a new one: after the clock is set back, some would."""
        latest = timezone.now() + timedelta(seconds=settings.SESSION_COOKIE_AGE)
        Session.objects.filter(expire_date__gt=latest).update(expire_date=latest)

    def _get_session_from_db(self) -> Session | None:
        """Return the session of the current key if it has not expired; None otherwise."""
        found = _SESSION_BY_KEY.first(key=self.session_key, now=timezone.now())
        if found is None:
            self._session_key = None  # as Django does: an unknown key is never reused
        return found


_SESSION_BY_KEY = PreparedQuery(
    lambda: Session.objects.filter(
        session_key=QueryParameter("key", CharField()),
        expire_date__gt=QueryParameter("now", DateTimeField()),
    )
)
