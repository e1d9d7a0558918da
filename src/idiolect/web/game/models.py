"""The game's database tables: words, rounds, answers, sums, votes, challenges and consent.

The services `rounds`, `scoring`, `pair_sessions` and `challenges` write these tables, each change
in one transaction. All rows about a player have a foreign key to the account and are deleted with
it.
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
    """The state of a round or of a game of Nym or Not."""

    OPEN = "open", "being played"
    FINISHED = "finished", "finished in time"
    SKIPPED = "skipped", "skipped"
    LAPSED = "lapsed", "not finished in time"


class Verdict(models.TextChoices):
    """A moderator's verdict on a challenge."""

    WAITING = "waiting", "waiting"
    ACCEPTED = "accepted", "accepted"
    DECLINED = "declined", "declined"


class Word(models.Model):
    """A base word that was asked, and sums over all players' rounds on it."""

    relation = models.CharField(max_length=8, choices=RELATIONS)
    base = models.CharField(max_length=MAX_CHARS)
    rounds = models.PositiveIntegerField(default=0)
    """Number of players who gave an answer, in timed or untimed rounds."""
    skips = models.PositiveIntegerField(default=0)
    """Number of players who skipped the word."""
    points = models.PositiveIntegerField(default=0)
    """Points of each player's first round, without the bonus for little-played words."""

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["relation", "base"], name="game_word_once"),
        ]

    def __str__(self) -> str:
        return f"{self.relation} of {self.base}"


class Round(models.Model):
    """One word that one player was asked; the server chooses the word and keeps the time."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    player = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="rounds"
    )
    word = models.ForeignKey(Word, on_delete=models.PROTECT, related_name="played")
    untimed = models.BooleanField(default=False)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    # The time comes from the database, so all of the site's processes share one clock.
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, default=None)
    difficulty = models.FloatField()
    """Difficulty of the word when it was asked."""
    answered = models.PositiveSmallIntegerField(default=0)
    """Number of answers that counted; rounds with 0 are left out of all sums."""
    bonus = models.PositiveSmallIntegerField(default=0)
    """Bonus for a little-played word."""
    score = models.PositiveIntegerField(default=0)
    """Points of the round, including ``bonus``."""
    answers: RelatedManager[Answer]

    class Meta:
        # At most one open round per player, also if two tabs start one at the same time.
        constraints = [
            models.UniqueConstraint(
                fields=["player"], condition=Q(state="open"), name="game_one_open_round"
            ),
        ]
        # The first index serves the history page, the second one the counts per word.
        indexes = [
            models.Index(fields=["player", "-started_at"], name="game_round_history"),
            models.Index(fields=["word", "state", "player"], name="game_round_word"),
        ]

    def __str__(self) -> str:
        return f"{self.word} ({self.state})"


class Answer(models.Model):
    """One answer that counted, and its points when the round was scored."""

    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="answers")
    # Copies of the round's word and player: with them, one index finds who else gave a stem.
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
        # Within a round, answers with the same stem are one answer.
        constraints = [
            models.UniqueConstraint(fields=["round", "stem"], name="game_answer_once"),
        ]
        indexes = [models.Index(fields=["word", "stem", "player"], name="game_answer_given")]

    def __str__(self) -> str:
        return self.text

    @property
    def total(self) -> int:
        """The points of this answer."""
        return self.agreement + self.bonus


class PlayerScore(models.Model):
    """A player's sums over finished rounds; one row for timed and one for untimed rounds."""

    player = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="totals"
    )
    untimed = models.BooleanField(default=False)
    rounds = models.PositiveIntegerField(default=0)
    points = models.PositiveIntegerField(default=0)
    last_played = models.DateTimeField(db_default=Now())

    class Meta:
        # The table's name is older than the class's name.
        db_table = "game_total"
        constraints = [
            models.UniqueConstraint(fields=["player", "untimed"], name="game_total_once"),
        ]

    def __str__(self) -> str:
        return f"{self.points} points in {self.rounds} rounds"


class PairSession(models.Model):
    """One game of Nym or Not: the pairs that the server chose, and the time."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    player = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="sittings"
    )
    untimed = models.BooleanField(default=False)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, default=None)
    pairs = models.JSONField()
    """List of {relation, base, answer, likely}, in the order in which they are shown."""
    score = models.PositiveIntegerField(default=0)
    votes: RelatedManager[PairVote]

    class Meta:
        db_table = "game_sitting"
        # At most one open game per player, as for rounds.
        constraints = [
            models.UniqueConstraint(
                fields=["player"], condition=Q(state="open"), name="game_one_open_sitting"
            ),
        ]

    def __str__(self) -> str:
        return f"{len(self.pairs)} pairs ({self.state})"


class PairVote(models.Model):
    """A player's latest vote on one pair; there is one vote per player and pair."""

    sitting = models.ForeignKey(PairSession, on_delete=models.CASCADE, related_name="votes")
    player = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    position = models.PositiveSmallIntegerField()
    relation = models.CharField(max_length=8, choices=RELATIONS)
    base = models.CharField(max_length=MAX_CHARS)
    answer = models.CharField(max_length=MAX_CHARS)
    stem = models.CharField(max_length=MAX_CHARS)
    likely = models.FloatField()
    """Estimated probability of the pair before any votes (`rules.pairs.Pair`)."""
    yes = models.BooleanField()
    majority = models.BooleanField(null=True)
    """The majority of other players when the vote was given; None if there was none."""
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
    """A player's sentence for an answer without a bonus, and a moderator's verdict."""

    # One-to-one: the database allows one challenge per answer.
    answer = models.OneToOneField(Answer, on_delete=models.CASCADE, related_name="challenge")
    sentence = models.CharField(max_length=200)
    verdict = models.CharField(max_length=8, choices=Verdict, default=Verdict.WAITING)
    made_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True, default=None)
    # The verdict stays if the moderator's account is deleted.
    moderator = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )

    class Meta:
        indexes = [models.Index(fields=["verdict", "made_at"], name="game_challenge_queue")]

    def __str__(self) -> str:
        return self.sentence


class Consent(models.Model):
    """A player's consent to one version of the notice."""

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
    """A stem that a moderator hid from other players; players may still answer with it."""

    stem = models.CharField(max_length=MAX_CHARS, unique=True)

    class Meta:
        db_table = "game_hidden"
        verbose_name_plural = "hidden answers"

    def __str__(self) -> str:
        return self.stem
