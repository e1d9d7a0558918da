"""The role of moderators: they decide on challenges and hide answers, and nothing else.

A moderator is a member of a group with four permissions. An administrator (Django's "superuser")
may do everything in the admin pages: read all rounds, and change, block and delete people.
"""

from __future__ import annotations

from django.contrib.auth.models import Group, Permission
from django.db import transaction

from idiolect.web.accounts.models import User

GROUP = "Moderators"
PERMISSIONS = (
    "change_challenge",  # includes reading the queue
    "view_hiddenanswer",
    "add_hiddenanswer",
    "delete_hiddenanswer",
)
"""What the pages in ``admin.py`` require for a moderator's work."""


def appoint_moderator(user: User) -> None:
    """Give the account the moderators' permissions, and take away all others that it has."""
    with transaction.atomic():
        group, _ = Group.objects.get_or_create(name=GROUP)
        allowed = Permission.objects.filter(
            content_type__app_label="game", codename__in=PERMISSIONS
        )
        group.permissions.set(allowed)
        user.groups.set([group])
        user.user_permissions.clear()
        user.is_staff, user.is_superuser = True, False
        user.save(update_fields=["is_staff", "is_superuser"])


def appoint_administrator(user: User) -> None:
    """Give the account all permissions."""
    user.is_staff = user.is_superuser = True
    user.save(update_fields=["is_staff", "is_superuser"])
