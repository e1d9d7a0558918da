"""The app of accounts and guests."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """The app of accounts and guests."""

    name = "idiolect.web.accounts"
    label = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        # Models can be imported only now.
        from idiolect.web.accounts import personal_data

        personal_data.connect_signals()
