"""The user model: a name and a password hash, but no e-mail or other address."""

from __future__ import annotations

import secrets
import unicodedata
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.validators import MinLengthValidator, RegexValidator
from django.db import models
from django.utils import timezone

GUEST_PREFIX = "guest-"
"""Prefix of guest names; people cannot choose names with it."""
NAME_TAKEN = "Another player has that name."


def compute_name_key(username: str) -> str:
    """Return a key that is equal for names that differ only in case or character width."""
    # Case folding can undo the normalization, so normalize again.
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold())


class UserManager(BaseUserManager["User"]):
    """Creates accounts and guests, and finds accounts by name in any case."""

    def create_user(self, username: str, password: str | None = None, **fields: Any) -> User:
        """Create an account; without a password, signing in to it is impossible."""
        user = self.model(username=username, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, username: str, password: str | None = None, **fields: Any) -> User:
        """Create a moderator with all permissions in the admin pages."""
        return self.create_user(username, password, is_staff=True, is_superuser=True, **fields)

    # A guest is a full row, so that signing up keeps the guest's primary key and games.
    def create_guest(self) -> User:
        """Create a guest with a random name and no password."""
        return self.create_user(GUEST_PREFIX + secrets.token_hex(6), is_guest=True)

    def get_by_natural_key(self, username: str | None) -> User:
        """Return the account with that name, in any case; raises User.DoesNotExist."""
        return self.get(key=compute_name_key(username or ""))


class User(AbstractBaseUser, PermissionsMixin):
    """An account, or a guest, who can become an account."""

    username = models.CharField(
        "name",
        max_length=30,
        unique=True,
        validators=[
            MinLengthValidator(2, "At least 2 letters, please."),
            RegexValidator(r"\A\w[\w.\-]*\Z", "Letters, digits, and . _ - between them."),
        ],
        help_text="2 to 30 letters and digits; other players see it.",
        error_messages={"unique": NAME_TAKEN},
    )
    key = models.CharField(max_length=90, unique=True, editable=False)
    """``compute_name_key`` of the name: unique, so that no two names look the same."""
    # The labels are what moderators read in the admin pages.
    is_guest = models.BooleanField("guest", default=False)
    is_staff = models.BooleanField("moderator", default=False)
    is_active = models.BooleanField("active", default=True)
    joined = models.DateTimeField(default=timezone.now)

    objects: UserManager = UserManager()  # pyright: ignore[reportIncompatibleVariableOverride]

    USERNAME_FIELD = "username"
    REQUIRED_FIELDS = []

    class Meta:
        verbose_name = "person"
        verbose_name_plural = "people"

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Normalize the name, update its key, and save."""
        self.username = unicodedata.normalize("NFKC", self.username)
        self.key = compute_name_key(self.username)
        super().save(*args, **kwargs)

    @property
    def name(self) -> str:
        """The name that other players see."""
        return f"Guest {self.username[-4:]}" if self.is_guest else self.username
