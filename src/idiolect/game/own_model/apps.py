"""The app: its jobs, and what it keeps of people."""

from __future__ import annotations

from django.apps import AppConfig


class OwnModelConfig(AppConfig):
    """Players' own models."""

    name = "idiolect.game.own_model"
    label = "own_model"
    verbose_name = "Players' own models"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Say who does its jobs and who holds its data."""
        from idiolect.game.own_model import service, work
        from idiolect.game.own_model.holder import HOLDER
        from idiolect.server import jobs
        from idiolect.server.accounts import holders

        jobs.register(service.TRAIN, work.train)
        jobs.register(service.GUESS, work.guess)
        holders.register(HOLDER)
