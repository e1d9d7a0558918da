"""Sets by file or by name, and their summaries."""

from __future__ import annotations

from pathlib import Path

import pytest

from idiolect.errors import MissingError
from idiolect.prompt_sets import corpora
from idiolect.prompt_sets.named import load_set
from idiolect.prompt_sets.pairs import hash_pairs
from idiolect.storage.files import sha256_file
from support.unlearning_sets import FORGET, write_jsonl


def test_load_set_reads_files_and_named_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_jsonl(tmp_path / "go.jsonl", FORGET)
    loaded = load_set(file, "forget")
    assert loaded.pairs == FORGET
    known = {"pairs": 5, "prompts": 4, "sha256": hash_pairs(FORGET)}
    assert loaded.summary == {**known, "file_sha256": sha256_file(file)}
    monkeypatch.setattr("idiolect.prompt_sets.named.NAMED_SETS", {"pyrit": lambda: FORGET})
    assert load_set("pyrit", "forget").summary == {**known, "name": "pyrit"}
    with pytest.raises(MissingError, match=r"nyms: no such file to retain; .* a set \(pyrit\)$"):
        load_set("nyms", "retain")
    assert set(corpora.NAMED_SETS) == {"pyrit", "truthfulqa"}  # as the help says
