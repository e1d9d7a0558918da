"""What is kept of a player's own model: where it lies, what it learnt, what it said of a round."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.db import models

from idiolect.web.game.models import Round


def new_folder() -> str:
    """A folder's name that says nothing of whose it is."""
    return secrets.token_hex(16)


class OwnModel(models.Model):
    """One player's model; it is there once ``trained_at`` is."""

    player = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="own_model"
    )
    folder = models.CharField(max_length=32, unique=True, default=new_folder)
    trained_at = models.DateTimeField(null=True, default=None)
    rounds = models.PositiveIntegerField(default=0)
    """Rounds it learnt from."""
    answers = models.PositiveIntegerField(default=0)
    words = models.JSONField(default=list)
    """The [relation, base word] of those rounds: it is never judged on these."""

    def __str__(self) -> str:
        return f"model of {self.rounds} rounds"


class PredictedAnswers(models.Model):
    """What the models said of one round, without having learnt from its word."""

    round = models.OneToOneField(Round, on_delete=models.CASCADE, related_name="guess")
    made_at = models.DateTimeField(auto_now_add=True)
    own = models.JSONField()
    """The likeliest answers of the player's model, best first."""
    plain = models.JSONField()
    """Those of the same model without the player."""
    answers = models.PositiveSmallIntegerField()
    """How many the player gave."""
    own_found = models.PositiveSmallIntegerField()
    """How many of these are among ``own``."""
    plain_found = models.PositiveSmallIntegerField()

    class Meta:
        db_table = "own_model_guess"
        verbose_name_plural = "guesses"

    def __str__(self) -> str:
        return f"{self.own_found} of {self.answers}"
