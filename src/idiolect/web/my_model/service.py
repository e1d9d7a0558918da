"""Status, training requests and predictions of a player's own model; does not load torch.

A model predicts a round only if the round ended after the training and its word was not in the
training data.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from django.conf import settings
from django.db import transaction
from django.db.models import Sum

from idiolect.web.accounts.problems import NotNowError
from idiolect.web.database import maintenance
from idiolect.web.game.models import Round, State
from idiolect.web.jobs import queue
from idiolect.web.models import Job
from idiolect.web.my_model.models import OwnModel, PredictedAnswers

TRAIN_JOB, PREDICT_JOB = "nyms-train", "nyms-guess"
"""The kinds of jobs; the module `job` runs them."""
MIN_ROUNDS = 20
"""Number of rounds with an answer that training requires."""
MODELS_FOLDER = "own-models"
"""Folder in the site's folder that has one folder per model."""
_FOLDER_NAME = re.compile("[0-9a-f]{32}")
"""The names that `models.new_folder` gives."""


@dataclass(frozen=True, kw_only=True)
class AccuracySummary:
    """How well both models predict a player's answers, over all rounds since the training."""

    rounds: int
    answers: int
    own: int
    """Number of answers among the ten likeliest of the player's model."""
    plain: int
    """Number of answers among the ten likeliest of the model without the player's adapter."""

    @property
    def own_percent(self) -> int:
        """Percentage of the player's answers that the player's model predicts."""
        return round(100 * self.own / self.answers) if self.answers else 0

    @property
    def plain_percent(self) -> int:
        """Percentage of the player's answers that the model without the adapter predicts."""
        return round(100 * self.plain / self.answers) if self.answers else 0


@dataclass(frozen=True, kw_only=True)
class ModelStatus:
    """The status of a player's model, as its page shows it."""

    played: int
    """Number of rounds with an answer."""
    model: OwnModel | None
    """The trained model, if there is one."""
    job: Job | None
    """The latest training job."""
    known: AccuracySummary | None
    """The accuracy of the trained model."""

    @property
    def remaining_rounds(self) -> int:
        """Number of rounds to play before training is possible."""
        return max(0, MIN_ROUNDS - self.played)

    @property
    def is_training(self) -> bool:
        """Whether a training job is running or queued."""
        return self.job is not None and self.job.is_active


def get_status(player: Any) -> ModelStatus:
    """Return the status of this player's model."""
    # A row without `trained_at` belongs to a first training that has not finished.
    model = OwnModel.objects.filter(player=player, trained_at__isnull=False).first()
    return ModelStatus(
        played=_filter_played_rounds(player).count(),
        model=model,
        job=queue.find_latest_job(TRAIN_JOB, player),
        known=summarize_accuracy(model) if model else None,
    )


def request_training(player: Any) -> Job:
    """Queue a training job for the player's model, or return the one that is active.

    Raises NotNowError if the player has played too few rounds.
    """
    require_enough_rounds(_filter_played_rounds(player).count())
    return queue.enqueue(TRAIN_JOB, owner=player)


def require_enough_rounds(rounds: int) -> None:
    """Raise UsageError if ``rounds`` is below ``MIN_ROUNDS``."""
    if rounds < MIN_ROUNDS:
        raise NotNowError(
            f"you have played {rounds} of the {MIN_ROUNDS} rounds that a model needs; "
            "play some more"
        )


def summarize_accuracy(model: OwnModel) -> AccuracySummary:
    """Sum up the predictions since the model's latest training."""
    predicted = PredictedAnswers.objects.filter(
        round__player=model.player_id,  # pyright: ignore[reportAttributeAccessIssue]
        made_at__gte=model.trained_at,
    )
    sums = predicted.aggregate(
        answers=Sum("answers"), own=Sum("own_found"), plain=Sum("plain_found")
    )
    return AccuracySummary(
        rounds=predicted.count(), **{name: value or 0 for name, value in sums.items()}
    )


PredictionState = Literal["none", "before", "learned", "waiting", "there", "failed"]


def find_or_request_prediction(round_: Round) -> tuple[PredictionState, PredictedAnswers | None]:
    """Return the prediction for a finished round, or queue a job for it.

    The first value is "there" with a prediction, "waiting" if a job will make one, and otherwise
    says why there is none: "none" without a model or an answer, "before" if the round ended before
    the training, "learned" if its word was in the training data, "failed" if the job failed.
    """
    found = PredictedAnswers.objects.filter(round=round_).first()
    if found is not None:
        return "there", found
    # A model is judged only on rounds and words that it did not learn from.
    model = OwnModel.objects.filter(player=round_.player, trained_at__isnull=False).first()
    if model is None or not round_.answered:
        return "none", None
    assert model.trained_at is not None and round_.ended_at is not None
    if round_.ended_at < model.trained_at:
        return "before", None
    if [round_.word.relation, round_.word.base] in model.words:
        return "learned", None
    # Do not repeat a failed job on each reload of the page; the next round starts a new one.
    last = queue.find_latest_job(PREDICT_JOB, round_.player)
    if last is not None and last.state == Job.State.FAILED and last.made_at > round_.ended_at:
        return "failed", None
    queue.enqueue(PREDICT_JOB, owner=round_.player)
    return "waiting", None


def iter_unpredicted_rounds(model: OwnModel) -> Iterable[Round]:
    """Yield the player's rounds that the model should predict, oldest first."""
    unpredicted = _filter_played_rounds(model.player).filter(
        ended_at__gte=model.trained_at, guess__isnull=True
    )
    learned = {(relation, base) for relation, base in model.words}
    rounds = unpredicted.select_related("word").prefetch_related("answers").order_by("ended_at")
    for round_ in rounds:
        if (round_.word.relation, round_.word.base) not in learned:
            yield round_


def delete_model(player: Any) -> None:
    """Delete the player's model, its copy of the training data, and its predictions."""
    with transaction.atomic():
        # Stop the jobs first: after that, they store nothing more (`JobContext.lock_claim`).
        for job in Job.objects.filter(owner=player, kind__in=[TRAIN_JOB, PREDICT_JOB]):
            queue.cancel_job(job)
        PredictedAnswers.objects.filter(round__player=player).delete()
        models = list(OwnModel.objects.filter(player=player))
        OwnModel.objects.filter(player=player).delete()
        maintenance.mark_deletion()
        transaction.on_commit(maintenance.purge_deleted)
    # A job that is still writing is killed within seconds; its worker removes what it wrote then.
    for model in models:
        remove_model_folder(model)


def get_model_folder(model: OwnModel) -> Path:
    """Return the folder with the model and its training data."""
    return Path(settings.HOME) / MODELS_FOLDER / model.folder


def remove_model_folder(model: OwnModel) -> None:
    """Delete the model's files."""
    shutil.rmtree(get_model_folder(model), ignore_errors=True)


def remove_orphaned_folders() -> None:
    """Delete the folders of models that have no row in the database any more."""
    folder = Path(settings.HOME) / MODELS_FOLDER
    # List the folders first: each has a row before it is made.
    found = [path for path in folder.glob("*") if _FOLDER_NAME.fullmatch(path.name)]
    known = set(OwnModel.objects.values_list("folder", flat=True)) if found else set[str]()
    for path in found:
        if path.name not in known:
            shutil.rmtree(path, ignore_errors=True)


def _filter_played_rounds(player: Any) -> Any:
    """Return the player's finished rounds with an answer."""
    return Round.objects.filter(player=player, state=State.FINISHED, answered__gt=0)
