"""Forms of accounts: sign-up, change of password, deletion. Sessions are handled in
``views.py``."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth import password_validation
from django.contrib.auth.forms import PasswordChangeForm
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.module_loading import import_string

from idiolect.web.accounts.models import GUEST_PREFIX, NAME_TAKEN, User
from idiolect.web.accounts.names import compute_name_key, is_reserved

OFFENSIVE_NAME = "This name is on a list of insults and swear words; please choose another one."
RESERVED_NAME = "This name belongs to those who run the site; please choose another one."


class SignUpForm(forms.ModelForm):
    """A name and a password for a new account; a guest's row becomes the account."""

    password = forms.CharField(
        strip=False,
        help_text="At least 8 characters. Keep it safe: we have no e-mail address to reset it.",
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    class Meta:
        model = User
        fields = ("username",)
        widgets = {
            "username": forms.TextInput(
                attrs={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"}
            )
        }

    def clean_username(self) -> str:
        """Refuse guest names, names of those who run the site, insults, and names that another
        person has in any case."""
        name: str = self.cleaned_data["username"]
        # Compare keys, not names: "Ann" must not pass for "ann".
        key = compute_name_key(name)
        if key.startswith(GUEST_PREFIX):
            raise ValidationError("Guest names begin like that; please choose another one.")
        if is_reserved(name):
            raise ValidationError(RESERVED_NAME)
        if any(import_string(refuses)(name) for refuses in settings.NAMES_REFUSED_BY):
            raise ValidationError(OFFENSIVE_NAME)
        if User.objects.filter(key=key).exclude(pk=self.instance.pk).exists():
            raise ValidationError(NAME_TAKEN)
        return name

    def _post_clean(self) -> None:
        super()._post_clean()  # pyright: ignore[reportAttributeAccessIssue]
        # The check that the password does not resemble the name needs the name in the instance.
        if password := self.cleaned_data.get("password"):
            try:
                password_validation.validate_password(password, self.instance)
            except ValidationError as error:
                self.add_error("password", error)

    def save_if_free(self) -> User | None:
        """Save and return the account; None if another person took the name meanwhile."""
        # For a guest, the instance is the guest's own row.
        user: User = self.save(commit=False)
        user.is_guest = False
        user.set_password(self.cleaned_data["password"])
        try:
            with transaction.atomic():  # a failed insert must not break an outer transaction
                user.save()
        except IntegrityError:
            self.add_error("username", NAME_TAKEN)
            return None
        return user


class ChangePasswordForm(PasswordChangeForm):
    """Asks for the old password once and the new one twice."""

    field_order = ["old_password", "new_password1", "new_password2"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["new_password1"].help_text = "At least 8 characters, and not a common one."
        self.fields["new_password2"].label = "New password again"
        self.fields["new_password2"].help_text = ""


class DeleteAccountForm(forms.Form):
    """Asks an account for its password, and a guest, who has none, to tick a box."""

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        # Ask for a proof that the person at the browser owns the account.
        if user.is_guest:
            self.fields["sure"] = forms.BooleanField(label="Yes, delete everything")
        else:
            self.fields["password"] = forms.CharField(
                strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
            )

    def clean_password(self) -> str:
        """Refuse a wrong password."""
        password: str = self.cleaned_data["password"]
        if not self.user.check_password(password):
            raise ValidationError("That is not your password.")
        return password
