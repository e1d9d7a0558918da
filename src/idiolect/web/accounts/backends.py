"""Who signs in with a name and a password, and who is behind a session."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.db.models import BigIntegerField

from idiolect.web.accounts.models import User
from idiolect.web.prepared_queries import PreparedQuery, QueryParameter


class Accounts(ModelBackend):
    """Django's, with a query for every page's user that is compiled once."""

    def get_user(self, user_id: Any) -> User | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The user of a session; None where they have gone, or may not be here."""
        found = _USER_BY_ID.first(id=user_id)
        return found if found is not None and self.user_can_authenticate(found) else None


_USER_BY_ID = PreparedQuery(lambda: User.objects.filter(pk=QueryParameter("id", BigIntegerField())))
