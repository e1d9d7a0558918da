"""The app of accounts and guests."""

from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Accounts and guests."""

    name = "idiolect.server.accounts"
    label = "accounts"
    verbose_name = "Accounts"

    def ready(self) -> None:
        from idiolect.server.accounts import holders

        holders.connect()
