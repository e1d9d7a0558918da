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
from idiolect.web.my_model.models import OwnModel, PredictedAnswers

TRAIN_JOB, PREDICT_JOB = "nyms-train", "nyms-guess"
"""The kinds of jobs; `work.py` does them."""
MIN_ROUNDS = 20
MODELS_FOLDER = "own-models"
"""In the site's folder; each model has a folder of its own in it."""


@dataclass(frozen=True, kw_only=True)
class AccuracySummary:
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
class ModelStatus:
    """What a player's page of their model says."""

    played: int
    """Rounds with an answer."""
    model: OwnModel | None
    """A trained one."""
    job: Job | None
    """The last training that was asked for."""
    known: AccuracySummary | None

    @property
    def remaining_rounds(self) -> int:
        """Rounds to be played before training."""
        return max(0, MIN_ROUNDS - self.played)

    @property
    def is_training(self) -> bool:
        """Whether it trains, or waits to."""
        return self.job is not None and self.job.is_active


def get_status(player: Any) -> ModelStatus:
    """Where this player's model stands."""
    model = OwnModel.objects.filter(player=player, trained_at__isnull=False).first()
    return ModelStatus(
        played=_filter_played_rounds(player).count(),
        model=model,
        job=queue.find_latest_job(TRAIN_JOB, player),
        known=summarize_accuracy(model) if model else None,
    )


def request_training(player: Any) -> Job:
    """Have the player's model trained; where that goes on already, it is that. UsageError where
    they have played too little."""
    require_enough_rounds(_filter_played_rounds(player).count())
    return queue.enqueue(TRAIN_JOB, owner=player)


def require_enough_rounds(rounds: int) -> None:
    """Raises UsageError where so many rounds are too few to learn from."""
    if rounds < MIN_ROUNDS:
        raise UsageError(
            f"you have played {rounds} of the {MIN_ROUNDS} rounds that a model learns from; "
            "play some more"
        )


def summarize_accuracy(model: OwnModel) -> AccuracySummary:
    """Over the rounds that this training was asked about."""
    made = PredictedAnswers.objects.filter(
        round__player=model.player_id,  # pyright: ignore[reportAttributeAccessIssue]
        made_at__gte=model.trained_at,
    )
    sums = made.aggregate(answers=Sum("answers"), own=Sum("own_found"), plain=Sum("plain_found"))
    return AccuracySummary(
        rounds=made.count(), **{name: value or 0 for name, value in sums.items()}
    )


PredictionState = Literal["none", "before", "learnt", "waiting", "there", "failed"]


def find_or_request_prediction(round_: Round) -> tuple[PredictionState, PredictedAnswers | None]:
    """What there is of a finished round: a guess; one that is on its way, having been asked for
    here; or why there is none: no model, played before it was trained, its word learnt from."""
    found = PredictedAnswers.objects.filter(round=round_).first()
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
    last = queue.find_latest_job(PREDICT_JOB, round_.player)
    if last is not None and last.state == Job.State.FAILED and last.made_at > round_.ended_at:
        return "failed", None
    queue.enqueue(PREDICT_JOB, owner=round_.player)
    return "waiting", None


def iter_unpredicted_rounds(model: OwnModel) -> Iterable[Round]:
    """The player's rounds that the model should be asked about, oldest first."""
    found = _filter_played_rounds(model.player).filter(
        ended_at__gte=model.trained_at, guess__isnull=True
    )
    learnt = {(relation, base) for relation, base in model.words}
    for round_ in found.select_related("word").prefetch_related("answers").order_by("ended_at"):
        if (round_.word.relation, round_.word.base) not in learnt:
            yield round_


def delete_model(player: Any) -> None:
    """Remove the player's model, what it learnt from and what it said."""
    for job in Job.objects.filter(owner=player, kind__in=[TRAIN_JOB, PREDICT_JOB]):
        queue.cancel_job(job)
    PredictedAnswers.objects.filter(round__player=player).delete()
    for model in OwnModel.objects.filter(player=player):
        remove_model_folder(model)
        model.delete()


def get_model_folder(model: OwnModel) -> Path:
    """Where the model and its history lie."""
    return Path(settings.HOME) / MODELS_FOLDER / model.folder


def remove_model_folder(model: OwnModel) -> None:
    """Take the model's files away."""
    shutil.rmtree(get_model_folder(model), ignore_errors=True)


def _filter_played_rounds(player: Any) -> Any:
    return Round.objects.filter(player=player, state=State.FINISHED, answered__gt=0)
