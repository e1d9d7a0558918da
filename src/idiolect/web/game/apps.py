"""The Django app config of the game; its database tables start with ``game_``."""

from __future__ import annotations

from django.apps import AppConfig


class GameConfig(AppConfig):
    """The word game KnowYourNyms."""

    name = "idiolect.web.game"
    label = "game"
    verbose_name = "KnowYourNyms"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the game's data with the accounts app, for export and erasure."""
        # Import here: models are not loaded yet when Django imports this module.
        from idiolect.web.accounts import personal_data
        from idiolect.web.game.erasure import DATA_SOURCE

        personal_data.register_source(DATA_SOURCE)
