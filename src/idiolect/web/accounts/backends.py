"""Authentication backend: sign-in with name and password, and the user of a session."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.db.models import BigIntegerField

from idiolect.web.accounts.models import User
from idiolect.web.prepared_queries import PreparedQuery, QueryParameter


class Accounts(ModelBackend):
    """Django's model backend with a prepared query for the user, which every page needs."""

    def get_user(self, user_id: Any) -> User | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the user of a session; None if the user is deleted or blocked."""
        found = _USER_BY_ID.first(id=user_id)
        return found if found is not None and self.user_can_authenticate(found) else None


_USER_BY_ID = PreparedQuery(lambda: User.objects.filter(pk=QueryParameter("id", BigIntegerField())))
