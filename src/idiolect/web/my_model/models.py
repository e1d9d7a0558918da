"""Database tables of players' own models: the folder, the training data and the predictions."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.db import models

from idiolect.web.game.models import Round


def new_folder() -> str:
    """Return a random folder name that does not identify the player."""
    return secrets.token_hex(16)


class OwnModel(models.Model):
    """One player's model; it exists on disk as soon as ``trained_at`` is set."""

    player = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="own_model"
    )
    folder = models.CharField(max_length=32, unique=True, default=new_folder)
    trained_at = models.DateTimeField(null=True, default=None)
    rounds = models.PositiveIntegerField(default=0)
    """Number of rounds in the training data."""
    answers = models.PositiveIntegerField(default=0)
    """Number of answers in the training data."""
    words = models.JSONField(default=list)
    """The [relation, base word] pairs of these rounds; they are never used to judge the model."""

    def __str__(self) -> str:
        return f"model of {self.rounds} rounds"


class PredictedAnswers(models.Model):
    """Both models' answers for one round, whose word was not in the training data."""

    round = models.OneToOneField(Round, on_delete=models.CASCADE, related_name="guess")
    made_at = models.DateTimeField(auto_now_add=True)
    own = models.JSONField()
    """List of the likeliest answers of the player's model, best first."""
    plain = models.JSONField()
    """List of the likeliest answers of the same model without the player's adapter."""
    answers = models.PositiveSmallIntegerField()
    """Number of answers that the player gave."""
    own_found = models.PositiveSmallIntegerField()
    """Number of the player's answers that are among ``own``."""
    plain_found = models.PositiveSmallIntegerField()
    """Number of the player's answers that are among ``plain``."""

    class Meta:
        # The table's name is older than the class's name.
        db_table = "own_model_guess"
        verbose_name_plural = "guesses"

    def __str__(self) -> str:
        return f"{self.own_found} of {self.answers}"
