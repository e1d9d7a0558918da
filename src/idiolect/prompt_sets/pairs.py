"""Prompts with their responses, and a reader for files of them. Uses no model.

A forget set holds what to remove, a retain set what to keep. Files are recognized by their columns
(``formats.py``), not by their names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from idiolect.errors import DataError
from idiolect.prompt_sets.formats import Side, detect_format
from idiolect.prompt_sets.readers import read_records


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A prompt and its response. The response is empty if only the prompt matters."""

    prompt: str
    response: str = ""

    @property
    def key(self) -> str:
        """Equal for prompts with the same words, regardless of case and spacing."""
        return normalize_text(self.prompt)


class HasKey(Protocol):
    """Anything with a prompt: a pair, or a tokenized pair."""

    @property
    def key(self) -> str:
        """Equal for equal prompts."""
        ...


K = TypeVar("K", bound=HasKey)


def normalize_text(text: str) -> str:
    """Return the text case-folded and with single spaces."""
    return " ".join(text.casefold().split())


def read_pairs(path: Path, *, side: Side, prompts_only: bool = False) -> tuple[Pair, ...]:
    """Read the pairs of a JSONL, JSON, CSV, YAML, or Parquet file, without duplicates, in file
    order.

    If a file has both kinds, ``side`` selects one (PKU-SafeRLHF: unsafe responses to forget, safe
    ones to retain; TruthfulQA: incorrect and correct answers). Raises DataError if the file is
    broken, has unknown columns, or contains nothing of that side, if a prompt is empty, or if a
    response is missing (unless ``prompts_only``).
    """
    found: dict[tuple[str, str], Pair] = {}
    column_format = None
    for line, record in read_records(path):
        # The first record decides the format of the file.
        column_format = column_format or detect_format(record, file=path, line=line)
        try:
            pairs = list(column_format.parse_record(record, side))
        except DataError as error:
            raise DataError(str(error), file=path, line=line) from error
        # Check each pair, and keep the first of equal ones.
        for prompt, response in pairs:
            if not prompt.strip():
                raise DataError("the prompt is empty", file=path, line=line)
            if prompts_only:
                response = ""
            elif not response.strip():
                raise DataError(
                    "the response is missing",
                    file=path,
                    line=line,
                    hint="pairs are needed here, not only prompts",
                )
            found.setdefault(
                (normalize_text(prompt), response), Pair(prompt=prompt, response=response)
            )
    if not found:
        what = f"nothing to {side}" if column_format else "no records"
        raise DataError(f"{what} in it", file=path)
    return tuple(found.values())


def hash_pairs(pairs: Iterable[Pair]) -> str:
    """Return the sha256 (hex) of the pairs in order. Manifests record it instead of the text."""
    sha = hashlib.sha256()
    for pair in pairs:
        sha.update(json.dumps([pair.prompt, pair.response], ensure_ascii=False).encode() + b"\n")
    return sha.hexdigest()


def group_by_prompt(pairs: Sequence[K]) -> dict[str, list[K]]:
    """Group pairs by their prompts' keys; both keep the given order."""
    out: dict[str, list[K]] = {}
    for pair in pairs:
        out.setdefault(pair.key, []).append(pair)
    return out
