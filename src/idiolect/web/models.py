"""The site's own tables: paces of rate limits, and background jobs."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone


class RateBucket(models.Model):
    """How far ahead of the allowed pace somebody is, in something; written by ``limits.py``."""

    key = models.CharField(max_length=64, primary_key=True)
    """A keyed hash of what is limited and whom: no address stands here."""
    free_at = models.FloatField(db_index=True)
    """The moment (seconds since 1970) at which everything is allowed again."""

    class Meta:
        db_table = "server_pace"

    def __str__(self) -> str:
        return self.key


class Job(models.Model):
    """Work that outlives a request; claimed and written by ``jobs.py``."""

    class State(models.TextChoices):
        """Where a job is; the last three are ends."""

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
    """How much of the stage is done, 0 to 1."""
    result = models.JSONField(null=True)
    problem = models.TextField(default="", blank=True)
    """One sentence for the person, where it failed."""
    attempts = models.PositiveSmallIntegerField(default=0)
    worker = models.CharField(max_length=80, default="", blank=True)
    lease_until = models.DateTimeField(null=True)
    """Until when its worker counts as alive."""

    class Meta:
        constraints = [
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
        """Whether it waits or runs."""
        return self.state in (self.State.QUEUED, self.State.RUNNING)

    @property
    def percent(self) -> int:
        """How much of the stage is done, 0 to 100."""
        return round(100 * min(max(self.share, 0.0), 1.0))
