"""The forms of accounts. Knows what may be typed; knows no session."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth import password_validation
from django.contrib.auth.forms import PasswordChangeForm
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.module_loading import import_string

from idiolect.web.accounts.models import GUEST_PREFIX, NAME_TAKEN, User, compute_name_key

OFFENSIVE_NAME = "This name is in a list of insults and swear words; please choose another one."


class SignUpForm(forms.ModelForm):
    """A name and a password; for a guest the account they become."""

    password = forms.CharField(
        strip=False,
        help_text="At least 8 characters. There is no e-mail to reset it by: keep it somewhere.",
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
        """Refuse names that others have in another case, those of guests, and insults."""
        name: str = self.cleaned_data["username"]
        key = compute_name_key(name)
        if key.startswith(GUEST_PREFIX):
            raise ValidationError("Names of guests begin like that; please choose another one.")
        if any(import_string(refuses)(name) for refuses in settings.NAMES_REFUSED_BY):
            raise ValidationError(OFFENSIVE_NAME)
        if User.objects.filter(key=key).exclude(pk=self.instance.pk).exists():
            raise ValidationError(NAME_TAKEN)
        return name

    def _post_clean(self) -> None:
        super()._post_clean()  # pyright: ignore[reportAttributeAccessIssue]
        # The instance has its name only now, which its password may not resemble.
        if password := self.cleaned_data.get("password"):
            try:
                password_validation.validate_password(password, self.instance)
            except ValidationError as error:
                self.add_error("password", error)

    def save_if_free(self) -> User | None:
        """The account, a guest's row made one; ``None`` where somebody just took the name."""
        user: User = self.save(commit=False)
        user.is_guest = False
        user.set_password(self.cleaned_data["password"])
        try:
            with transaction.atomic():
                user.save()
        except IntegrityError:
            self.add_error("username", NAME_TAKEN)
            return None
        return user


class ChangePasswordForm(PasswordChangeForm):
    """The old password once, the new one twice."""

    field_order = ["old_password", "new_password1", "new_password2"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["new_password1"].help_text = "At least 8 characters, and not a common one."
        self.fields["new_password2"].label = "New password, once more"
        self.fields["new_password2"].help_text = ""


class DeleteAccountForm(forms.Form):
    """Asks for the password once more; a guest, who has none, ticks a box."""

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        if user.is_guest:
            self.fields["sure"] = forms.BooleanField(label="Yes, delete everything")
        else:
            self.fields["password"] = forms.CharField(
                strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
            )

    def clean_password(self) -> str:
        """The right password, or an error."""
        password: str = self.cleaned_data["password"]
        if not self.user.check_password(password):
            raise ValidationError("That is not your password.")
        return password
