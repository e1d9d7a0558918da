"""Loads a forget or retain set from a file or by name, with a summary for manifests.

A manifest gets counts and hashes only: the text of what is forgotten is not stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect.errors import MissingError
from idiolect.prompt_sets.corpora import NAMED_SETS
from idiolect.prompt_sets.formats import Side
from idiolect.prompt_sets.pairs import Pair, hash_pairs, read_pairs
from idiolect.storage.files import sha256_file


@dataclass(frozen=True, kw_only=True)
class LoadedSet:
    """A set with its counts and hashes."""

    pairs: tuple[Pair, ...]
    summary: Mapping[str, Any]


def load_set(source: str | Path, side: Side) -> LoadedSet:
    """Read a file of pairs (``read_pairs``), or a set by its name (``corpora.NAMED_SETS``).

    Raises MissingError if ``source`` is neither.
    """
    file = Path(source)
    # A file takes precedence over a set of the same name.
    if file.is_file():
        pairs = read_pairs(file, side=side)
        return LoadedSet(
            pairs=pairs, summary={**_summarize_pairs(pairs), "file_sha256": sha256_file(file)}
        )
    if str(source) in NAMED_SETS:
        pairs = NAMED_SETS[str(source)]()
        return LoadedSet(pairs=pairs, summary={**_summarize_pairs(pairs), "name": str(source)})
    raise MissingError(
        f"{source}: no such file to {side}; give a file of pairs, or the name of a set "
        f"({', '.join(NAMED_SETS)})"
    )


def _summarize_pairs(pairs: tuple[Pair, ...]) -> dict[str, Any]:
    prompts = len({pair.key for pair in pairs})
    return {"pairs": len(pairs), "prompts": prompts, "sha256": hash_pairs(pairs)}
