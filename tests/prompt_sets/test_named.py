"""A set as it was named, and what may be said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from idiolect.errors import MissingError
from idiolect.prompt_sets import corpora
from idiolect.prompt_sets.named import load_set
from idiolect.prompt_sets.pairs import hash_pairs
from idiolect.storage.files import sha256_file
from support.unlearning_sets import FORGET, write_jsonl


def test_files_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_jsonl(tmp_path / "go.jsonl", FORGET)
    given = load_set(file, "forget")
    assert given.pairs == FORGET
    known = {"pairs": 5, "prompts": 4, "sha256": hash_pairs(FORGET)}
    assert given.summary == {**known, "file_sha256": sha256_file(file)}
    monkeypatch.setattr("idiolect.prompt_sets.named.NAMED_SETS", {"pyrit": lambda: FORGET})
    assert load_set("pyrit", "forget").summary == {**known, "name": "pyrit"}
    with pytest.raises(MissingError, match=r"nyms: no such file to retain; .* a set \(pyrit\)$"):
        load_set("nyms", "retain")
    assert set(corpora.NAMED_SETS) == {"pyrit", "truthfulqa"}  # as the help says
