"""The person at the keyboard: a name, a password's hash, and no address of any kind."""

from __future__ import annotations

import secrets
import unicodedata
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.validators import MinLengthValidator, RegexValidator
from django.db import models
from django.utils import timezone

GUEST_PREFIX = "guest-"
"""Names of guests begin so; nobody can choose one."""
NAME_TAKEN = "Somebody else has that name."


def compute_name_key(username: str) -> str:
    """What two names have in common that look the same but for case and width."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold())


class UserManager(BaseUserManager["User"]):
    """Makes accounts and guests, and finds them whatever the case of their name."""

    def create_user(self, username: str, password: str | None = None, **fields: Any) -> User:
        """An account; without a password nobody can sign in to it."""
        user = self.model(username=username, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, username: str, password: str | None = None, **fields: Any) -> User:
        """A moderator: may enter the admin pages and do everything there."""
        return self.create_user(username, password, is_staff=True, is_superuser=True, **fields)

    def create_guest(self) -> User:
        """Somebody who just plays."""
        return self.create_user(GUEST_PREFIX + secrets.token_hex(6), is_guest=True)

    def get_by_natural_key(self, username: str | None) -> User:
        """The account of that name, in any case; User.DoesNotExist otherwise."""
        return self.get(key=compute_name_key(username or ""))


class User(AbstractBaseUser, PermissionsMixin):
    """An account, or a guest who may become one."""

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
        """Save; the name's key follows the name."""
        self.username = unicodedata.normalize("NFKC", self.username)
        self.key = compute_name_key(self.username)
        super().save(*args, **kwargs)

    @property
    def name(self) -> str:
        """What others see."""
        return f"Guest {self.username[-4:]}" if self.is_guest else self.username
