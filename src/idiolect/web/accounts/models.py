"""The user model: a name and a password hash, but no e-mail or other address."""

from __future__ import annotations

import secrets
from typing import Any

from django import forms
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.core.exceptions import ValidationError
from django.core.validators import MinLengthValidator, RegexValidator
from django.db import models
from django.utils import timezone

from idiolect.web.accounts import names

GUEST_PREFIX = "guest-"
"""Prefix of guest names; people cannot choose names with it."""
NAME_TAKEN = "Another player has that name."


def refuse_invisible(name: str) -> None:
    """Raise ValidationError if the name has characters that are displayed as nothing."""
    if names.has_invisible(name):
        raise ValidationError("This name has an invisible character; please leave it out.")


class NameFormField(forms.CharField):
    """A form field for a name: normalizes the name before it is checked."""

    def to_python(self, value: Any) -> str:
        """Return the normalized name."""
        return names.normalize_name(super().to_python(value) or "")


class NameField(models.CharField):
    """A column for a name: normalizes the name before it is checked, in forms and outside."""

    def to_python(self, value: Any) -> Any:
        """Return the normalized name."""
        value = super().to_python(value)
        return names.normalize_name(value) if isinstance(value, str) else value

    def formfield(self, **kwargs: Any) -> Any:
        """Return the form field, which normalizes too."""
        return super().formfield(**{"form_class": NameFormField, **kwargs})

    def deconstruct(self) -> Any:
        """Describe the column to migrations, which need to know no more than its type."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs


class UserManager(BaseUserManager["User"]):
    """Creates accounts and guests, and finds accounts by name in any case.

    An invalid name raises ValidationError, as in `User.save`.
    """

    def create_user(self, username: str, password: str | None = None, **fields: Any) -> User:
        """Create an account; without a password, signing in to it is impossible."""
        user = self.model(username=username, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, username: str, password: str | None = None, **fields: Any) -> User:
        """Create an administrator, with all permissions in the admin pages."""
        return self.create_user(username, password, is_staff=True, is_superuser=True, **fields)

    # A guest is a full row, so that signing up keeps the guest's primary key and games.
    def create_guest(self) -> User:
        """Create a guest with a random name and no password."""
        return self.create_user(GUEST_PREFIX + secrets.token_hex(6), is_guest=True)

    def get_by_natural_key(self, username: str | None) -> User:
        """Return the account with that name, in any case; raises User.DoesNotExist."""
        return self.get(key=names.compute_name_key(username or ""))


class User(AbstractBaseUser, PermissionsMixin):
    """An account, or a guest, who can become an account."""

    username = NameField(
        "name",
        max_length=names.MAX_LENGTH,
        unique=True,
        validators=[
            refuse_invisible,
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
    is_staff = models.BooleanField("uses the admin pages", default=False)
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
        """Normalize and check the name, update its key, and save; raises ValidationError."""
        if (fields := kwargs.get("update_fields")) is None or "username" in fields:
            self.username = self._meta.get_field("username").clean(self.username, self)
            self.key = names.compute_name_key(self.username)
        super().save(*args, **kwargs)

    @property
    def name(self) -> str:
        """The name that other players see."""
        return f"Guest {self.username[-4:]}" if self.is_guest else self.username
