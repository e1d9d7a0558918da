"""A set as it was named, and what may be said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from idiolect.errors import MissingError
from idiolect.prompt_sets import corpora
from idiolect.prompt_sets.named import read_given
from idiolect.prompt_sets.pairs import digest
from idiolect.storage.files import sha256_file
from support.unlearning_sets import FORGET, write_jsonl


def test_files_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_jsonl(tmp_path / "go.jsonl", FORGET)
    given = read_given(file, "forget")
    assert given.pairs == FORGET
    known = {"pairs": 5, "prompts": 4, "sha256": digest(FORGET)}
    assert given.about == {**known, "file_sha256": sha256_file(file)}
    monkeypatch.setattr("idiolect.prompt_sets.named.NAMED", {"pyrit": lambda: FORGET})
    assert read_given("pyrit", "forget").about == {**known, "name": "pyrit"}
    with pytest.raises(MissingError, match=r"nyms: no such file to retain; .* the sets pyrit$"):
        read_given("nyms", "retain")
    assert set(corpora.NAMED) == {"pyrit", "truthfulqa"}  # as the help says
