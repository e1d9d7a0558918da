"""Many short byte strings looked for at once in long ones; knows no files and nothing of meaning.

Texts are compared without regard to case and spacing, tensors byte by byte.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

MIN_PATTERN_CHARS = 20
"""Characters from which a text can tell anything: shorter ones are written by everybody."""
PATTERN_CHARS = 32
"""Longer texts are looked for in pieces, so that a part of one is found, too."""
HASH_PREFIX_BYTES = 16
"""Bytes by which a place is chosen for a whole comparison."""
HASH_BITS = 22
"""Of a hash: with 50,000 heads one place in a hundred is compared for nothing."""
HASH_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_CHUNK_SIZE = 1 << 22


def normalise(text: str) -> str:
    """The text as it is compared: one form of each letter, small, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def split_into_patterns(texts: Iterable[str]) -> frozenset[str]:
    """What is looked for of some texts: each line in pieces of at least ``LEAST`` characters."""
    out: set[str] = set()
    for text in texts:
        for line in (text, *text.splitlines()):
            line = normalise(line)
            starts = range(0, max(1, len(line) - MIN_PATTERN_CHARS + 1), PATTERN_CHARS)
            out |= {line[at : at + PATTERN_CHARS].strip() for at in starts}
            out.add(line[-PATTERN_CHARS:].strip())
    return frozenset(piece for piece in out if len(piece) >= MIN_PATTERN_CHARS)


@dataclass(frozen=True)
class SearchPatterns:
    """What is looked for: pieces of texts (see ``pieces_of``), and bytes of tensors."""

    texts: frozenset[str] = frozenset()
    tensors: frozenset[bytes] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.texts or self.tensors)

    def excluding(self, common: Collection[str]) -> SearchPatterns:
        """Those that are not among these texts."""
        return SearchPatterns(self.texts.difference(common), self.tensors)

    def find_in_text(self, text: str) -> set[str]:
        """Which texts stand in a text."""
        return {
            self._text_by_bytes[n] for n in self._text_search.find_all(normalise(text).encode())
        }

    def find_in_texts(self, texts: Iterable[str]) -> Iterator[str]:
        """Which texts stand in many texts, some of them at a time; one may come more than once."""
        waiting: list[str] = []
        size = 0
        for text in texts:
            waiting.append(normalise(text))
            size += len(text)
            if size >= _CHUNK_SIZE:
                yield from self.find_in_text("\x00".join(waiting))
                waiting, size = [], 0
        yield from self.find_in_text("\x00".join(waiting))

    def find_in_bytes(self, raw: bytes) -> set[str]:
        """Which texts, and whether tensors (as ``TENSORS``), stand in bytes that nothing decodes.

        Only the case of ASCII letters is disregarded there.
        """
        out = {self._text_by_bytes[n] for n in self._text_search.find_all(raw.lower())}
        return out | ({TENSORS_FOUND} if self._tensor_search.find_all(raw) else set())

    def contains_tensors(self, raw: bytes) -> bool:
        """Whether bytes of the tensors stand in these."""
        return bool(self._tensor_search.find_all(raw))

    @property
    def max_pattern_bytes(self) -> int:
        """Bytes that the longest one has."""
        return max((len(n) for n in (*self._text_by_bytes, *self.tensors)), default=0)

    @cached_property
    def _text_by_bytes(self) -> dict[bytes, str]:
        return {text.encode(): text for text in self.texts}

    @cached_property
    def _text_search(self) -> _MultiPatternSearch:
        return _MultiPatternSearch(self._text_by_bytes)

    @cached_property
    def _tensor_search(self) -> _MultiPatternSearch:
        return _MultiPatternSearch(self.tensors)


TENSORS_FOUND = "numbers of their adapter"
"""What ``in_bytes`` calls tensors."""


class _MultiPatternSearch:
    """Finds any of some byte strings: a place is compared in full where a hash of what begins there
    is that of one of their heads."""

    def __init__(self, wanted: Collection[bytes]) -> None:
        assert all(len(one) >= HASH_PREFIX_BYTES for one in wanted)
        self._patterns_by_prefix: dict[bytes, list[bytes]] = {}
        for one in wanted:
            self._patterns_by_prefix.setdefault(one[:HASH_PREFIX_BYTES], []).append(one)
        self._is_prefix_hash = np.zeros(1 << HASH_BITS, dtype=np.bool_)
        for head in self._patterns_by_prefix:
            self._is_prefix_hash[_hash_windows(head)] = True

    def find_all(self, raw: bytes) -> set[bytes]:
        """Those that stand in ``raw``."""
        out: set[bytes] = set()
        if not self._patterns_by_prefix:
            return out
        for start in range(0, len(raw) - HASH_PREFIX_BYTES + 1, _CHUNK_SIZE):
            likely = self._is_prefix_hash[
                _hash_windows(raw[start : start + _CHUNK_SIZE + HASH_PREFIX_BYTES - 1])
            ]
            for at in (np.flatnonzero(likely) + start).tolist():
                for one in self._patterns_by_prefix.get(raw[at : at + HASH_PREFIX_BYTES], ()):
                    if raw.startswith(one, at):
                        out.add(one)
        return out


def _hash_windows(raw: bytes) -> NDArray[np.uint64]:
    """A hash of the ``_HEAD`` bytes from each place on at which there are so many."""
    part = np.frombuffer(raw, dtype=np.uint8)
    windows = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(part, 8))
    words = windows.view(np.uint64)[:, 0]
    mixed = words[:-8] * HASH_MULTIPLIER ^ words[8:]
    return (mixed * HASH_MULTIPLIER) >> np.uint64(64 - HASH_BITS)
