"""Registry of personal data: each app says how to export and erase what it keeps about a person.

An app registers its source in ``AppConfig.ready``. This module imports none of the apps.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.signals import pre_delete
from django.utils import timezone

from idiolect.web.accounts.models import User
from idiolect.web.database import maintenance
from idiolect.web.models import Session


class PersonalDataSource(Protocol):
    """A part of the site that keeps data about people."""

    name: str
    """Key of this source in an export, e.g. ``rounds``; unique."""

    def export_data(self, user: User) -> Any:
        """Return everything that the source keeps about the user, as a JSON value."""
        ...

    def erase_data(self, user: User) -> None:
        """Remove the data that deleting the account's row does not remove, such as files.

        Called before the row is deleted, in the same transaction, both if the owner and if an
        administrator deletes it. An exception keeps the account.
        """
        ...

    def remove_orphans(self) -> None:
        """Remove the files of people who are deleted.

        Such files remain if the site is killed during a deletion, or if a job of the person was
        still writing. Called after every job and each hour.
        """
        ...


_NEW_FOR = timedelta(hours=1)
"""A guest is made just before the guest's session: spare those that are being made. A guest from
after now is from before the clock was set back, and is not."""
_SOURCES: dict[str, PersonalDataSource] = {}


def register_source(source: PersonalDataSource) -> None:
    """Include ``source`` in exports and deletions; its name must be unique."""
    assert _SOURCES.get(source.name, source) is source, f"two sources named {source.name}"
    _SOURCES[source.name] = source


def export_person(user: User) -> Mapping[str, Any]:
    """Return everything that the site keeps about ``user``, by source, as JSON values."""
    # The account itself, without the password hash; then one entry per source.
    account = {
        "name": user.name,
        "guest": user.is_guest,
        "joined": user.joined.isoformat(),
        "last signed in": user.last_login.isoformat() if user.last_login else None,
    }
    return {"account": account} | {
        name: source.export_data(user) for name, source in _SOURCES.items()
    }


def erase_person(user: User) -> None:
    """Delete ``user`` and everything that the site keeps about them."""
    with transaction.atomic():  # if a source fails, the account and its rows stay
        # PostgreSQL: until the deletion is over, no row can be added that refers to the person.
        User.objects.select_for_update().filter(pk=user.pk).first()
        user.delete()


def delete_unreachable_guests(now: datetime | None = None) -> int:
    """Delete the guests who have no session, with all their data; return their number.

    A guest exists only through the session cookie of one browser. Once the session has ended (it
    expired, or the browser signed out), no one can reach the guest's games any more, not even to
    delete them. So the site does.
    """
    now = now or timezone.now()
    sessions = Session.objects.filter(owner=OuterRef("pk"), expire_date__gt=now)
    unreachable = User.objects.filter(~Exists(sessions), is_guest=True)
    guests = list(unreachable.exclude(joined__range=(now - _NEW_FOR, now + _NEW_FOR)))
    # One transaction for each guest, so that players do not wait for all of them.
    for guest in guests:
        erase_person(guest)
    return len(guests)


def remove_orphans() -> None:
    """Remove the files of people who are deleted, from all sources."""
    for source in _SOURCES.values():
        source.remove_orphans()


def connect_signals() -> None:
    """Call every source before an account is deleted, also in the admin pages."""
    # The dispatch uid keeps a second call from connecting twice.
    pre_delete.connect(
        _erase_before_delete, sender=User, dispatch_uid="idiolect.web.accounts.personal_data"
    )


def _erase_before_delete(sender: Any, instance: User, **_: Any) -> None:
    for source in _SOURCES.values():
        source.erase_data(instance)
    # The log of the admin pages repeats the name, and this deletion may be in it, too.
    about = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(User), object_id=str(instance.pk)
    )
    about.update(object_id=None, object_repr="a deleted person", change_message="")
    maintenance.mark_deletion()
    transaction.on_commit(maintenance.purge_deleted)
