"""The game as an app of the site; its models' names begin with ``game_`` in the database."""

from __future__ import annotations

from django.apps import AppConfig


class GameConfig(AppConfig):
    """KnowYourNyms."""

    name = "idiolect.web.game"
    label = "game"
    verbose_name = "KnowYourNyms"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Tell the accounts what is kept of a person here."""
        from idiolect.web.accounts import personal_data
        from idiolect.web.game.erasure import DATA_SOURCE

        personal_data.register_source(DATA_SOURCE)
