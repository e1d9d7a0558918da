"""The file of predicted pairs in the site's data folder, from which Nym or Not takes its pairs.

`idiolect nyms train-classifier` writes it. This module needs neither the classifier nor the
database.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from idiolect.errors import IntegrityError
from idiolect.game.rules.pairs import Pair
from idiolect.game.rules.relations import Relation
from idiolect.storage.files import read_json, write_json

PREDICTIONS_FILE = "nym-predictions.json"
"""File name inside the site's data folder."""
CLASSIFIER_FOLDER = "nym-classifier"
"""Name of the classifier's folder inside the site's data folder."""
_FORMAT = "idiolect-nym-predictions"


def write_predictions(path: Path, pairs: Iterable[Pair]) -> None:
    """Write pairs with their probabilities (4 decimals), atomically and with a checksum."""
    rows = [[p.relation.value, p.base_word, p.answer, round(p.likely, 4)] for p in pairs]
    write_json(path, {"format": _FORMAT, "version": 1, "pairs": rows})


def read_predictions(path: Path) -> tuple[Pair, ...]:
    """Read the pairs of a file; returns () if the file does not exist.

    Raises IntegrityError if the file was changed or is not a predictions file.
    """
    if not path.is_file():
        return ()
    content: Any = read_json(path)
    try:
        if content["format"] != _FORMAT or content["version"] != 1:
            raise ValueError("unknown format or version")
        return tuple(_parse_pair(*row) for row in content["pairs"])
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{path}: not a predictions file ({error}); train the classifier again, "
            "or delete the file"
        ) from error


def _parse_pair(relation: str, base_word: str, answer: str, likely: float) -> Pair:
    if not 0 <= likely <= 1:
        raise ValueError(f"{likely} is not a probability")
    return Pair(relation=Relation(relation), base_word=base_word, answer=answer, likely=likely)
