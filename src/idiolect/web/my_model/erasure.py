"""Players' own models as a holder of personal data, and what a classifier learnt from them."""

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
    """Models, guesses, and the site's classifier where the person is among its contributors."""

    name = "own model"

    def export_data(self, user: User) -> Any:
        """What the models said; the model itself is numbers that are of use here alone."""
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
        """Their model goes; a classifier made of their answers too, until it is trained anew."""
        models = list(OwnModel.objects.filter(player=user))
        home, who = Path(settings.HOME), str(user.pk)

        def remove_files() -> None:
            for model in models:
                service.remove_model_folder(model)
            folder = home / predictions.CLASSIFIER_FOLDER
            if (folder / Manifest.NAME).is_file() and who in Manifest.peek(folder).contributors:
                shutil.rmtree(folder)
                (home / predictions.PREDICTIONS_FILE).unlink(missing_ok=True)

        # Files do not come back with a transaction that fails.
        transaction.on_commit(remove_files)


DATA_SOURCE = MyModelDataSource()
