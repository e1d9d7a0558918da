"""Prompts with their responses, as they come out of a file; knows no model and no method.

A forget set holds what is to go, a retain set what is to stay. Files are read by their columns
(``layouts.py``), whatever they are called.
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
    """What somebody asks, and what is answered; the response is empty where only prompts count."""

    prompt: str
    response: str = ""

    @property
    def key(self) -> str:
        """What makes two prompts the same one: its words, whatever their case and spacing."""
        return normalize_text(self.prompt)


class HasKey(Protocol):
    """Whatever has a prompt: a pair, or its tokens."""

    @property
    def key(self) -> str:
        """Equal for equal prompts."""
        ...


K = TypeVar("K", bound=HasKey)


def normalize_text(text: str) -> str:
    """The text in one case, with single spaces."""
    return " ".join(text.casefold().split())


def read_pairs(path: Path, *, side: Side, prompts_only: bool = False) -> tuple[Pair, ...]:
    """The pairs of a JSONL, JSON, CSV, YAML or Parquet file, each once, in the file's order.

    ``side`` chooses where a file has both kinds (PKU-SafeRLHF: unsafe responses are to be
    forgotten, safe ones to be kept; TruthfulQA: incorrect and correct answers). Raises DataError
    for a broken file, unknown columns, an empty prompt, a missing response unless ``prompts_only``,
    and for a file in which nothing of that side stands.
    """
    found: dict[tuple[str, str], Pair] = {}
    layout = None
    for line, record in read_records(path):
        layout = layout or detect_format(record, file=path, line=line)
        try:
            pairs = list(layout.parse_record(record, side))
        except DataError as error:
            raise DataError(str(error), file=path, line=line) from error
        for prompt, response in pairs:
            if not prompt.strip():
                raise DataError("the prompt is empty", file=path, line=line)
            if prompts_only:
                response = ""
            elif not response.strip():
                raise DataError(
                    "there is a prompt and no response",
                    file=path,
                    line=line,
                    hint="pairs are needed here, not prompts alone",
                )
            found.setdefault(
                (normalize_text(prompt), response), Pair(prompt=prompt, response=response)
            )
    if not found:
        what = f"nothing to {side}" if layout else "no records"
        raise DataError(f"{what} in it", file=path)
    return tuple(found.values())


def hash_pairs(pairs: Iterable[Pair]) -> str:
    """sha256 over pairs in their order (hex): what a manifest says of a set, not its text."""
    sha = hashlib.sha256()
    for pair in pairs:
        sha.update(json.dumps([pair.prompt, pair.response], ensure_ascii=False).encode() + b"\n")
    return sha.hexdigest()


def group_by_prompt(pairs: Sequence[K]) -> dict[str, list[K]]:
    """Pairs under their prompts' keys, both in the given order."""
    out: dict[str, list[K]] = {}
    for pair in pairs:
        out.setdefault(pair.key, []).append(pair)
    return out
