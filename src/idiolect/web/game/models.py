"""What the game keeps: rounds and answers, sums over them, votes, challenges, consent.

Knows the shape of what is kept, not when it changes: `rounds`, `sittings` and `challenges` do that,
each change in one transaction. Everything that says something about a player hangs on the player's
account and goes with it.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from idiolect.game.rules.answers import MAX_CHARS
from idiolect.game.rules.relations import Relation

if TYPE_CHECKING:
    from django.db.models.manager import RelatedManager

RELATIONS = [(relation.value, relation.value) for relation in Relation]


class State(models.TextChoices):
    """Where a round or a game of Nym or Not is."""

    OPEN = "open", "being played"
    FINISHED = "finished", "finished in time"
    SKIPPED = "skipped", "skipped"
    LAPSED = "lapsed", "not finished in time"


class Verdict(models.TextChoices):
    """What a moderator said to a challenge."""

    WAITING = "waiting", "waiting"
    ACCEPTED = "accepted", "accepted"
    DECLINED = "declined", "declined"


class Word(models.Model):
    """A base word that was asked, and sums over everybody's rounds on it."""

    relation = models.CharField(max_length=8, choices=RELATIONS)
    base = models.CharField(max_length=MAX_CHARS)
    rounds = models.PositiveIntegerField(default=0)
    """Players who gave an answer to it, with a clock or without: those who play without one shall
    meet others too."""
    skips = models.PositiveIntegerField(default=0)
    """Players who skipped it."""
    points = models.PositiveIntegerField(default=0)
    """Of those players' first rounds, without the bonus for little-played words."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["relation", "base"], name="game_word_once"),
        ]

    def __str__(self) -> str:
        return f"{self.relation} of {self.base}"


class Round(models.Model):
    """One word put to one player; the server chose the word and holds the clock."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    player = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="rounds"
    )
    word = models.ForeignKey(Word, on_delete=models.PROTECT, related_name="played")
    untimed = models.BooleanField(default=False)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    # The database's clock: the same for all of the site's processes.
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, default=None)
    difficulty = models.FloatField()
    """The word's, when it was asked."""
    answered = models.PositiveSmallIntegerField(default=0)
    """Answers that counted; a round without any says nothing about the word."""
    bonus = models.PositiveSmallIntegerField(default=0)
    score = models.PositiveIntegerField(default=0)
    """The bonus included."""
    answers: RelatedManager[Answer]

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["player"], condition=Q(state="open"), name="game_one_open_round"
            ),
        ]
        indexes = [
            models.Index(fields=["player", "-started_at"], name="game_round_history"),
            models.Index(fields=["word", "state", "player"], name="game_round_word"),
        ]

    def __str__(self) -> str:
        return f"{self.word} ({self.state})"


class Answer(models.Model):
    """One answer that counted, and what it was worth at that moment."""

    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="answers")
    # Both follow from the round; here they let one index answer who else gave a stem.
    word = models.ForeignKey(Word, on_delete=models.PROTECT, related_name="+")
    player = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    position = models.PositiveSmallIntegerField()
    text = models.CharField(max_length=MAX_CHARS)
    stem = models.CharField(max_length=MAX_CHARS)
    agreement = models.PositiveSmallIntegerField()
    bonus = models.PositiveSmallIntegerField()
    why = models.CharField(max_length=200)

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(fields=["round", "stem"], name="game_answer_once"),
        ]
        indexes = [models.Index(fields=["word", "stem", "player"], name="game_answer_given")]

    def __str__(self) -> str:
        return self.text

    @property
    def total(self) -> int:
        """Points of this answer."""
        return self.agreement + self.bonus


class PlayerScore(models.Model):
    """A player's sums over finished rounds, timed and untimed apart."""

    player = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="totals"
    )
    untimed = models.BooleanField(default=False)
    rounds = models.PositiveIntegerField(default=0)
    points = models.PositiveIntegerField(default=0)
    last_played = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "game_total"
        constraints = [
            models.UniqueConstraint(fields=["player", "untimed"], name="game_total_once"),
        ]

    def __str__(self) -> str:
        return f"{self.points} points in {self.rounds} rounds"


class PairSession(models.Model):
    """One game of Nym or Not: the pairs that the server chose, and the clock."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    player = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sittings"
    )
    untimed = models.BooleanField(default=False)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, default=None)
    pairs = models.JSONField()
    """A list of {relation, base, answer, likely}, in the order shown."""
    score = models.PositiveIntegerField(default=0)
    votes: RelatedManager[PairVote]

    class Meta:
        db_table = "game_sitting"
        constraints = [
            models.UniqueConstraint(
                fields=["player"], condition=Q(state="open"), name="game_one_open_sitting"
            ),
        ]

    def __str__(self) -> str:
        return f"{len(self.pairs)} pairs ({self.state})"


class PairVote(models.Model):
    """What a player said of one pair, last; one vote a player and pair."""

    sitting = models.ForeignKey(PairSession, on_delete=models.CASCADE, related_name="votes")
    player = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    position = models.PositiveSmallIntegerField()
    relation = models.CharField(max_length=8, choices=RELATIONS)
    base = models.CharField(max_length=MAX_CHARS)
    answer = models.CharField(max_length=MAX_CHARS)
    stem = models.CharField(max_length=MAX_CHARS)
    likely = models.FloatField()
    """How probable the pair was held to be beforehand (`rules.Pair`)."""
    yes = models.BooleanField()
    majority = models.BooleanField(null=True)
    """What most others said at that moment; None where that was open."""
    points = models.PositiveSmallIntegerField()
    given_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["position"]
        constraints = [
            models.UniqueConstraint(
                fields=["player", "relation", "base", "stem"], name="game_vote_once"
            ),
        ]
        indexes = [
            models.Index(fields=["relation", "base", "stem", "yes"], name="game_vote_pair"),
        ]

    def __str__(self) -> str:
        return f"{self.answer}, {self.relation} of {self.base}: {'yes' if self.yes else 'no'}"


class Challenge(models.Model):
    """A player's sentence for an answer that earned no bonus; a moderator decides."""

    answer = models.OneToOneField(Answer, on_delete=models.CASCADE, related_name="challenge")
    sentence = models.CharField(max_length=200)
    verdict = models.CharField(max_length=8, choices=Verdict, default=Verdict.WAITING)
    made_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True, default=None)
    moderator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )

    class Meta:
        indexes = [models.Index(fields=["verdict", "made_at"], name="game_challenge_queue")]

    def __str__(self) -> str:
        return self.sentence


class Consent(models.Model):
    """That a player agreed to the notice, to which version of it, and when."""

    player = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="consents"
    )
    version = models.PositiveSmallIntegerField()
    agreed_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["player", "version"], name="game_consent_once"),
        ]

    def __str__(self) -> str:
        return f"notice {self.version}"


class HiddenAnswer(models.Model):
    """A stem that a moderator took out of sight; players may still give it."""

    stem = models.CharField(max_length=MAX_CHARS, unique=True)

    class Meta:
        db_table = "game_hidden"
        verbose_name_plural = "hidden answers"

    def __str__(self) -> str:
        return self.stem
