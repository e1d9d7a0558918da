"""Export and erasure of players' own models, and erasure of a classifier that includes a player."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from idiolect.game import predictions
from idiolect.storage.manifest import Manifest
from idiolect.web.accounts.models import User
from idiolect.web.my_model import service
from idiolect.web.my_model.models import OwnModel, PredictedAnswers


class MyModelDataSource:
    """A person's model and predictions, and the site's classifier if the person contributed."""

    name = "own model"

    def export_data(self, user: User) -> Any:
        """Return the predictions; the weights are left out, as they are of no use elsewhere."""
        # The keys of the export are a stored format; they keep their names.
        model = OwnModel.objects.filter(player=user).first()
        guesses = PredictedAnswers.objects.filter(round__player=user).order_by("made_at")
        return {
            "trained at": model.trained_at.isoformat() if model and model.trained_at else None,
            "learnt from": {"rounds": model.rounds, "answers": model.answers} if model else None,
            "guesses": [
                {"round": str(guess.round_id), "own": guess.own, "plain": guess.plain}  # pyright: ignore[reportAttributeAccessIssue]
                for guess in guesses
            ],
        }

    def erase_data(self, user: User) -> None:
        """Delete the person's model, and the classifier if it learned from their answers.

        The site then has no classifier until it is trained again.
        """
        # Read the rows now: they are gone when the transaction commits.
        models = list(OwnModel.objects.filter(player=user))

        def remove_files() -> None:
            for model in models:
                service.remove_model_folder(model)
            remove_orphaned_classifier()

        # Delete files only after the commit: a rollback cannot restore them. If it fails then, the
        # person is deleted, and `remove_orphans` tries again.
        transaction.on_commit(remove_files, robust=True)

    def remove_orphans(self) -> None:
        """Delete models and a classifier whose people are deleted."""
        service.remove_orphaned_folders()
        remove_orphaned_classifier()


def remove_orphaned_classifier() -> None:
    """Delete the classifier and its predictions if it learned from a person who is deleted."""
    home = Path(settings.HOME)
    folder = home / predictions.CLASSIFIER_FOLDER
    if not (folder / Manifest.NAME).is_file():
        return
    # The manifest names the players whose answers the classifier learned from.
    named = set(Manifest.read_unchecked(folder).contributors)
    if named <= {
        str(key) for key in User.objects.filter(pk__in=named).values_list("pk", flat=True)
    }:
        return
    shutil.rmtree(folder)
    (home / predictions.PREDICTIONS_FILE).unlink(missing_ok=True)


DATA_SOURCE = MyModelDataSource()
