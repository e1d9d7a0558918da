"""Where a player's own model stands, and what pages may ask of it; loads no torch.

A model is asked about a round only where it never learnt from the round's word: after its training,
and on a word that was not in it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from django.conf import settings
from django.db.models import Sum

from idiolect.errors import UsageError
from idiolect.web.game.models import Round, State
from idiolect.web.jobs import queue
from idiolect.web.models import Job
from idiolect.web.my_model.models import Guess, OwnModel

TRAIN, GUESS = "nyms-train", "nyms-guess"
"""The kinds of jobs; `work.py` does them."""
LEAST_ROUNDS = 20
FOLDER = "own-models"
"""In the site's folder; each model has a folder of its own in it."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """How well the models know a player's answers, over all rounds since the training."""

    rounds: int
    answers: int
    own: int
    plain: int
    """Answers among the ten likeliest of each model."""

    @property
    def own_percent(self) -> int:
        """Of the player's answers."""
        return round(100 * self.own / self.answers) if self.answers else 0

    @property
    def plain_percent(self) -> int:
        """The same for the model without the player."""
        return round(100 * self.plain / self.answers) if self.answers else 0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a player's page of their model says."""

    played: int
    """Rounds with an answer."""
    model: OwnModel | None
    """A trained one."""
    job: Job | None
    """The last training that was asked for."""
    known: Known | None

    @property
    def missing(self) -> int:
        """Rounds to be played before training."""
        return max(0, LEAST_ROUNDS - self.played)

    @property
    def training(self) -> bool:
        """Whether it trains, or waits to."""
        return self.job is not None and self.job.active


def standing(player: Any) -> Standing:
    """Where this player's model stands."""
    model = OwnModel.objects.filter(player=player, trained_at__isnull=False).first()
    return Standing(
        played=_played(player).count(),
        model=model,
        job=queue.latest(TRAIN, player),
        known=known(model) if model else None,
    )


def ask_training(player: Any) -> Job:
    """Have the player's model trained; where that goes on already, it is that. UsageError where
    they have played too little."""
    require_enough(_played(player).count())
    return queue.enqueue(TRAIN, owner=player)


def require_enough(rounds: int) -> None:
    """Raises UsageError where so many rounds are too few to learn from."""
    if rounds < LEAST_ROUNDS:
        raise UsageError(
            f"you have played {rounds} of the {LEAST_ROUNDS} rounds that a model learns from; "
            "play some more"
        )


def known(model: OwnModel) -> Known:
    """Over the rounds that this training was asked about."""
    made = Guess.objects.filter(round__player=model.player_id, made_at__gte=model.trained_at)  # pyright: ignore[reportAttributeAccessIssue]
    sums = made.aggregate(answers=Sum("answers"), own=Sum("own_found"), plain=Sum("plain_found"))
    return Known(rounds=made.count(), **{name: value or 0 for name, value in sums.items()})


Answered = Literal["none", "before", "learnt", "waiting", "there", "failed"]


def answered(round_: Round) -> tuple[Answered, Guess | None]:
    """What there is of a finished round: a guess; one that is on its way, having been asked for
    here; or why there is none: no model, played before it was trained, its word learnt from."""
    found = Guess.objects.filter(round=round_).first()
    if found is not None:
        return "there", found
    model = OwnModel.objects.filter(player=round_.player, trained_at__isnull=False).first()
    if model is None or not round_.answered:
        return "none", None
    assert model.trained_at is not None and round_.ended_at is not None
    if round_.ended_at < model.trained_at:
        return "before", None
    if [round_.word.relation, round_.word.base] in model.words:
        return "learnt", None
    last = queue.latest(GUESS, round_.player)
    if last is not None and last.state == Job.State.FAILED and last.made_at > round_.ended_at:
        return "failed", None
    queue.enqueue(GUESS, owner=round_.player)
    return "waiting", None


def waiting(model: OwnModel) -> Iterable[Round]:
    """The player's rounds that the model should be asked about, oldest first."""
    found = _played(model.player).filter(ended_at__gte=model.trained_at, guess__isnull=True)
    learnt = {(relation, base) for relation, base in model.words}
    for round_ in found.select_related("word").prefetch_related("answers").order_by("ended_at"):
        if (round_.word.relation, round_.word.base) not in learnt:
            yield round_


def forget(player: Any) -> None:
    """Remove the player's model, what it learnt from and what it said."""
    for job in Job.objects.filter(owner=player, kind__in=[TRAIN, GUESS]):
        queue.cancel(job)
    Guess.objects.filter(round__player=player).delete()
    for model in OwnModel.objects.filter(player=player):
        remove_folder(model)
        model.delete()


def folder_of(model: OwnModel) -> Path:
    """Where the model and its history lie."""
    return Path(settings.HOME) / FOLDER / model.folder


def remove_folder(model: OwnModel) -> None:
    """Take the model's files away."""
    shutil.rmtree(folder_of(model), ignore_errors=True)


def _played(player: Any) -> Any:
    return Round.objects.filter(player=player, state=State.FINISHED, answered__gt=0)
