"""Sessions in the database, read by a query that is compiled once: every page reads one."""

from __future__ import annotations

from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db.models import CharField, DateTimeField
from django.utils import timezone

from idiolect.web.prepared_queries import PreparedQuery, QueryParameter


class SessionStore(db.SessionStore):
    """Django's, with that query."""

    def _get_session_from_db(self) -> Session | None:
        found = _SESSION_BY_KEY.first(key=self.session_key, now=timezone.now())
        if found is None:
            self._session_key = None
        return found


_SESSION_BY_KEY = PreparedQuery(
    lambda: Session.objects.filter(
        session_key=QueryParameter("key", CharField()),
        expire_date__gt=QueryParameter("now", DateTimeField()),
    )
)
