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
        home, player_id = Path(settings.HOME), str(user.pk)

        def remove_files() -> None:
            for model in models:
                service.remove_model_folder(model)
            # The manifest names the players whose answers the classifier learned from.
            folder = home / predictions.CLASSIFIER_FOLDER
            if (folder / Manifest.NAME).is_file() and player_id in Manifest.read_unchecked(
                folder
            ).contributors:
                shutil.rmtree(folder)
                (home / predictions.PREDICTIONS_FILE).unlink(missing_ok=True)

        # Delete files only after the commit: a rollback cannot restore them.
        transaction.on_commit(remove_files)


DATA_SOURCE = MyModelDataSource()
