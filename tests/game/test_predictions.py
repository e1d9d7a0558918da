"""The file of predicted pairs."""

from __future__ import annotations

from pathlib import Path

import pytest

from idiolect.errors import IntegrityError
from idiolect.game.predictions import PREDICTIONS_FILE, read_predictions, write_predictions
from idiolect.game.rules.pairs import Pair
from idiolect.game.rules.relations import Relation
from idiolect.storage.files import write_json


def make_pair(likely: float) -> Pair:
    return Pair(relation=Relation.MERONYMS, base_word="knife", answer="blade", likely=likely)


def test_read_predictions_returns_what_was_written(tmp_path: Path) -> None:
    assert read_predictions(tmp_path / PREDICTIONS_FILE) == ()
    write_predictions(tmp_path / PREDICTIONS_FILE, [make_pair(0.25), make_pair(0.12345)])
    assert read_predictions(tmp_path / PREDICTIONS_FILE) == (make_pair(0.25), make_pair(0.1235))


def test_read_predictions_rejects_changed_file(tmp_path: Path) -> None:
    path = tmp_path / PREDICTIONS_FILE
    write_predictions(path, [make_pair(0.25)])
    path.write_text(path.read_text().replace("0.25", "0.95"))
    with pytest.raises(IntegrityError, match="was changed"):
        read_predictions(path)


@pytest.mark.parametrize(
    "row", [["parts", "a", "b", 0.5], ["meronyms", "a", "b", 1.5], ["meronyms", "a"]]
)
def test_read_predictions_rejects_malformed_row(tmp_path: Path, row: list[object]) -> None:
    content = {"format": "idiolect-nym-predictions", "version": 1, "pairs": [row]}
    write_json(tmp_path / PREDICTIONS_FILE, content)
    with pytest.raises(IntegrityError, match="not a predictions file"):
        read_predictions(tmp_path / PREDICTIONS_FILE)
