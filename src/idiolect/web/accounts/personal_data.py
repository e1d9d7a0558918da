"""Who keeps something of a person: each app says how it is handed out, and how it goes.

An app registers its holder when it is ready (``AppConfig.ready``). Knows no app.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from django.db import transaction
from django.db.models.signals import pre_delete

from idiolect.web.accounts.models import User


class PersonalDataSource(Protocol):
    """Whatever keeps data of people."""

    name: str
    """The heading under which it stands in an export, e.g. ``rounds``."""

    def export_data(self, user: User) -> Any:
        """Everything kept of them, as JSON takes it."""
        ...

    def erase_data(self, user: User) -> None:
        """Remove what does not go with the row of the account: files, copies, texts elsewhere.

        Called before that row goes, in the same transaction, whoever deletes it (its owner or a
        moderator). Raising keeps the account.
        """
        ...


_SOURCES: dict[str, PersonalDataSource] = {}


def register_source(holder: PersonalDataSource) -> None:
    """Ask ``holder`` too from now on; its name is its own."""
    assert _SOURCES.get(holder.name, holder) is holder, f"two holders named {holder.name}"
    _SOURCES[holder.name] = holder


def export_person(user: User) -> Mapping[str, Any]:
    """Everything the site keeps of ``user``."""
    account = {
        "name": user.name,
        "guest": user.is_guest,
        "joined": user.joined.isoformat(),
        "last signed in": user.last_login.isoformat() if user.last_login else None,
    }
    return {"account": account} | {name: held.export_data(user) for name, held in _SOURCES.items()}


def erase_person(user: User) -> None:
    """Remove ``user`` and everything that is kept of them."""
    with transaction.atomic():
        user.delete()


def connect_signals() -> None:
    """Have every holder asked when an account goes."""
    pre_delete.connect(
        _erase_before_delete, sender=User, dispatch_uid="idiolect.web.accounts.personal_data"
    )


def _erase_before_delete(sender: Any, instance: User, **_: Any) -> None:
    for holder in _SOURCES.values():
        holder.erase_data(instance)
