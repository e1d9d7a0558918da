"""The two jobs of a player's own model: training, and predictions for rounds played since.

The jobs run in the worker process, and a worker finishes what a killed worker started. They import
the engine when they run, so that the site itself does not load torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from idiolect.events import Event, Listener, Progress
from idiolect.game import words
from idiolect.game.rules.answers import stem
from idiolect.web.accounts.models import User
from idiolect.web.my_model import service
from idiolect.web.my_model.models import OwnModel, PredictedAnswers

if TYPE_CHECKING:
    from idiolect.web.game.models import Round
    from idiolect.web.jobs.queue import JobContext
    from idiolect.web.my_model.engine import AnswerPredictor


def run_training(running: JobContext, arguments: Mapping[str, Any]) -> Any:
    """Train the owner's model on all of their rounds so far; return the number of rounds."""
    from idiolect.game.export.histories import build_player_history
    from idiolect.web.game.export_reader import read_plays
    from idiolect.web.my_model import engine

    player = User.objects.get(pk=running.owner)
    plays = read_plays(player)
    service.require_enough_rounds(len(plays.rounds))
    # The row comes before the folder: a folder without a row is an orphan and is removed.
    with transaction.atomic():
        if not running.lock_claim():
            return {"rounds": 0}
        own, _ = OwnModel.objects.get_or_create(player=player)
    history = build_player_history(
        engine.PLAYER_ID, plays.rounds, words.load_table().get_determiner
    )
    engine.train_player_model(
        service.get_model_folder(own),
        history,
        base=settings.BASE,
        listener=_make_training_listener(running),
    )
    # Record what the model learned from: it is never asked about these words.
    learned = {(row.relation, row.base_word) for row in plays.rounds}
    kept = OwnModel.objects.filter(pk=own.pk).update(
        rounds=len(plays.rounds),
        answers=len(history.items),
        words=sorted(learned),
        trained_at=timezone.now(),
    )
    # If the player deleted the account or the model during training, the row is gone: remove the
    # folder, too. (One statement decides: a deletion either sees the model, or prevents it.)
    if not kept:
        service.remove_model_folder(own)
        return {"rounds": 0}
    return {"rounds": len(plays.rounds)}


def _make_training_listener(running: Listener) -> Listener:
    """Forward the progress in answers; the progress in people (one of one) means nothing here."""

    def report_progress(event: Event, /) -> None:
        if isinstance(event, Progress) and event.unit == "items":
            running(replace(event, stage="learning"))

    return report_progress


def run_predictions(running: JobContext, arguments: Mapping[str, Any]) -> Any:
    """Predict the answers of each of the owner's rounds that has no prediction yet."""
    from idiolect.web.my_model.engine import AnswerPredictor

    own = OwnModel.objects.select_related("player").get(player=running.owner)
    # One job serves all waiting rounds, so the model is loaded once.
    waiting = list(service.iter_unpredicted_rounds(own))
    if not waiting:
        return {"rounds": 0}
    running(Progress(stage="loading", done=0, total=len(waiting)))
    predictor = AnswerPredictor(service.get_model_folder(own), base=settings.BASE)
    for done, round_ in enumerate(waiting, 1):
        _save_prediction(running, predictor, round_)
        running(Progress(stage="asking", done=done, total=len(waiting), unit="rounds"))
    return {"rounds": len(waiting)}


def _save_prediction(running: JobContext, predictor: AnswerPredictor, round_: Round) -> None:
    """Store both models' answers for a round, and how many of the player's are among them.

    Stores nothing if the job was cancelled because the player deleted the model.
    """
    from idiolect.game.export.histories import format_round_question
    from idiolect.web.game.export_reader import to_round_row

    row = to_round_row(round_)
    own, plain = predictor.predict_answers(
        format_round_question(row, words.load_table().get_determiner), row.base_word
    )
    # Compare by stem, as the game does between players.
    given = {answer.stem for answer in row.answers}
    # A job that is repeated after a crash overwrites its own result.
    with transaction.atomic():
        if not running.lock_claim():
            return
        PredictedAnswers.objects.update_or_create(
            round=round_,
            defaults={
                "own": own,
                "plain": plain,
                "answers": len(given),
                "own_found": len(given & set(map(stem, own))),
                "plain_found": len(given & set(map(stem, plain))),
            },
        )
