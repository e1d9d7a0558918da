"""The site's own tables: sessions, state of the rate limits, and background jobs."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models
from django.db.models import Q
from django.utils import timezone


class Session(AbstractBaseSession):
    """A session of a browser; written by ``sessions.py``."""

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        null=True,
        related_name="sessions",
        # A sign-in while the person is being deleted must not fail in the database.
        db_constraint=False,
    )
    """Who is signed in; None for a visitor."""


class RateBucket(models.Model):
    """The state of one rate limit for one person or address; written by ``rate_limits.py``."""

    key = models.CharField(max_length=64, primary_key=True)
    """A keyed hash of the limit and the person: the table contains no addresses or names."""
    free_at = models.FloatField(db_index=True)
    """The time (seconds since 1970) at which the whole burst is available again."""

    class Meta:
        db_table = "server_pace"

    def __str__(self) -> str:
        return self.key


class Job(models.Model):
    """Work that outlives a request; read and written by ``jobs/queue.py``."""

    class State(models.TextChoices):
        """The state of a job; the last three are final."""

        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=40)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, related_name="jobs"
    )
    arguments = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State.choices, default=State.QUEUED)
    made_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    stage = models.CharField(max_length=80, default="", blank=True)
    share = models.FloatField(default=0.0)
    """The completed part of the stage, 0 to 1."""
    result = models.JSONField(null=True)
    problem = models.TextField(default="", blank=True)
    """One sentence for the owner that says why the job failed."""
    attempts = models.PositiveSmallIntegerField(default=0)
    worker = models.CharField(max_length=80, default="", blank=True)
    lease_until = models.DateTimeField(null=True)
    """The time until which the worker counts as alive; renewed while it works."""

    class Meta:
        constraints = [
            # Two clicks of one person start one job.
            models.UniqueConstraint(
                fields=["kind", "owner"],
                condition=Q(state__in=["queued", "running"]),
                name="one_active_job_a_kind_and_owner",
            )
        ]
        indexes = [models.Index(fields=["state", "made_at"], name="job_queue")]

    def __str__(self) -> str:
        return f"{self.kind} {self.state}"

    @property
    def is_active(self) -> bool:
        """Whether the job waits or runs."""
        return self.state in (self.State.QUEUED, self.State.RUNNING)

    @property
    def percent(self) -> int:
        """The completed part of the stage, 0 to 100."""
        return round(100 * min(max(self.share, 0.0), 1.0))
