"""The app: its jobs, and what it keeps of people."""

from __future__ import annotations

from django.apps import AppConfig


class MyModelConfig(AppConfig):
    """Players' own models."""

    name = "idiolect.web.my_model"
    label = "own_model"
    verbose_name = "Players' own models"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Say who does its jobs and who holds its data."""
        from idiolect.web.accounts import personal_data
        from idiolect.web.jobs import queue
        from idiolect.web.my_model import job, service
        from idiolect.web.my_model.erasure import DATA_SOURCE

        queue.register_job_kind(service.TRAIN_JOB, job.run_training)
        queue.register_job_kind(service.PREDICT_JOB, job.run_predictions)
        personal_data.register_source(DATA_SOURCE)
