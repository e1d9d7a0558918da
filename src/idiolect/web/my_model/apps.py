"""The Django app config of players' own models: it registers jobs and personal data."""

from __future__ import annotations

from django.apps import AppConfig


class MyModelConfig(AppConfig):
    """Players' own models."""

    name = "idiolect.web.my_model"
    label = "own_model"
    verbose_name = "Players' own models"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the app's jobs with the queue and its data with the accounts app."""
        # Import here: models are not loaded yet when Django imports this module.
        from idiolect.web.accounts import personal_data
        from idiolect.web.jobs import queue
        from idiolect.web.my_model import job, service
        from idiolect.web.my_model.erasure import DATA_SOURCE

        queue.register_job_kind(service.TRAIN_JOB, job.run_training)
        queue.register_job_kind(service.PREDICT_JOB, job.run_predictions)
        personal_data.register_source(DATA_SOURCE)
