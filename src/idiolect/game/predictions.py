"""What a classifier believes of pairs, as a file in the site's data folder: Nym or Not asks them.

Knows the file; knows no classifier and no database. `idiolect nyms train-classifier` writes it.
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
"""Its name in the site's data folder."""
CLASSIFIER_FOLDER = "nym-classifier"
"""The name there of the classifier's own folder."""
_FORMAT = "idiolect-nym-predictions"


def write_predictions(path: Path, pairs: Iterable[Pair]) -> None:
    """Write pairs with their probabilities, atomically and with a checksum."""
    rows = [[p.relation.value, p.base_word, p.answer, round(p.likely, 4)] for p in pairs]
    write_json(path, {"format": _FORMAT, "version": 1, "pairs": rows})


def read_predictions(path: Path) -> tuple[Pair, ...]:
    """The pairs of the file; none where there is no file.

    Raises IntegrityError for one that was changed or is something else.
    """
    if not path.is_file():
        return ()
    content: Any = read_json(path)
    try:
        if content["format"] != _FORMAT or content["version"] != 1:
            raise ValueError("its format is another")
        return tuple(_parse_pair(*row) for row in content["pairs"])
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{path}: no predictions of a classifier ({error}); train it anew, or delete the file"
        ) from error


def _parse_pair(relation: str, base_word: str, answer: str, likely: float) -> Pair:
    if not 0 <= likely <= 1:
        raise ValueError(f"{likely} is no probability")
    return Pair(relation=Relation(relation), base_word=base_word, answer=answer, likely=likely)
