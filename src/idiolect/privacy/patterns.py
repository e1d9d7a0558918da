"""Searches for many short byte patterns at once in long texts and bytes. Does not read files.

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
"""Minimum length of a text pattern. Shorter texts are too common to identify a person."""
PATTERN_CHARS = 32
"""Longer texts are split into pieces of this length, so that a part of a text is found, too."""
HASH_PREFIX_BYTES = 16
"""Length of the prefix that is hashed to select positions for a full comparison."""
HASH_BITS = 22
"""Bits of the prefix hash. With 50,000 prefixes, one position in a hundred is a false candidate."""
HASH_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_CHUNK_SIZE = 1 << 22


def normalize_text(text: str) -> str:
    """Return the text in the form used for comparison: NFKC, case-folded, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def split_into_patterns(texts: Iterable[str]) -> frozenset[str]:
    """Split texts into search patterns: each line in pieces of at least ``MIN_PATTERN_CHARS``
    characters."""
    out: set[str] = set()
    for text in texts:
        # The text as a whole finds matches across line breaks, which normalization removes.
        for line in (text, *text.splitlines()):
            line = normalize_text(line)
            starts = range(0, max(1, len(line) - MIN_PATTERN_CHARS + 1), PATTERN_CHARS)
            out |= {line[at : at + PATTERN_CHARS].strip() for at in starts}
            # The regular pieces may leave a short rest: also search for the end of the line.
            out.add(line[-PATTERN_CHARS:].strip())
    return frozenset(piece for piece in out if len(piece) >= MIN_PATTERN_CHARS)


@dataclass(frozen=True)
class SearchPatterns:
    """Patterns to search for: pieces of texts (see ``split_into_patterns``), and bytes of
    tensors."""

    texts: frozenset[str] = frozenset()
    tensors: frozenset[bytes] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.texts or self.tensors)

    def exclude_texts(self, common: Collection[str]) -> SearchPatterns:
        """Return the patterns without these texts."""
        return SearchPatterns(self.texts.difference(common), self.tensors)

    def find_in_text(self, text: str) -> set[str]:
        """Return which text patterns occur in a text."""
        return {
            self._text_by_bytes[n]
            for n in self._text_search.find_all(normalize_text(text).encode())
        }

    def find_in_texts(self, texts: Iterable[str]) -> Iterator[str]:
        """Yield the text patterns that occur in many texts, searched in batches; may repeat a
        pattern."""
        pending: list[str] = []
        size = 0
        for text in texts:
            pending.append(normalize_text(text))
            size += len(text)
            # NUL separates the texts, so that no pattern matches across two of them.
            if size >= _CHUNK_SIZE:
                yield from self.find_in_text("\x00".join(pending))
                pending, size = [], 0
        yield from self.find_in_text("\x00".join(pending))

    def find_in_bytes(self, raw: bytes) -> set[str]:
        """Return which text patterns occur in undecoded bytes, and ``TENSORS_FOUND`` if tensors do.

        In bytes, only the case of ASCII letters is ignored.
        """
        # Text patterns are lower case already. Tensor bytes must match exactly.
        out = {self._text_by_bytes[n] for n in self._text_search.find_all(raw.lower())}
        return out | ({TENSORS_FOUND} if self._tensor_search.find_all(raw) else set())

    def contains_tensors(self, raw: bytes) -> bool:
        """Whether bytes of the tensors occur in ``raw``."""
        return bool(self._tensor_search.find_all(raw))

    @property
    def max_pattern_bytes(self) -> int:
        """Length in bytes of the longest pattern."""
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


TENSORS_FOUND = "weights of their adapter"
"""What ``find_in_bytes`` reports for tensors."""


class _MultiPatternSearch:
    """Finds any of a set of byte patterns (Rabin-Karp).

    Hashes the bytes at each position. A position is compared in full only if its hash equals the
    hash of a pattern's prefix.
    """

    def __init__(self, patterns: Collection[bytes]) -> None:
        assert all(len(pattern) >= HASH_PREFIX_BYTES for pattern in patterns)
        self._patterns_by_prefix: dict[bytes, list[bytes]] = {}
        for pattern in patterns:
            self._patterns_by_prefix.setdefault(pattern[:HASH_PREFIX_BYTES], []).append(pattern)
        # A table of 2^HASH_BITS flags: one lookup per position decides whether to compare.
        self._is_prefix_hash = np.zeros(1 << HASH_BITS, dtype=np.bool_)
        for head in self._patterns_by_prefix:
            self._is_prefix_hash[_hash_windows(head)] = True

    def find_all(self, raw: bytes) -> set[bytes]:
        """Return the patterns that occur in ``raw``."""
        out: set[bytes] = set()
        if not self._patterns_by_prefix:
            return out
        for start in range(0, len(raw) - HASH_PREFIX_BYTES + 1, _CHUNK_SIZE):
            # Hash one chunk at a time; chunks overlap, so that no position is missed.
            likely = self._is_prefix_hash[
                _hash_windows(raw[start : start + _CHUNK_SIZE + HASH_PREFIX_BYTES - 1])
            ]
            # Compare the candidates in full. Different patterns may share a prefix.
            for at in (np.flatnonzero(likely) + start).tolist():
                for pattern in self._patterns_by_prefix.get(raw[at : at + HASH_PREFIX_BYTES], ()):
                    if raw.startswith(pattern, at):
                        out.add(pattern)
        return out


def _hash_windows(raw: bytes) -> NDArray[np.uint64]:
    """Hash the ``HASH_PREFIX_BYTES`` bytes that start at each position of ``raw``."""
    # Read each window as two 64-bit words and mix them by multiplication.
    part = np.frombuffer(raw, dtype=np.uint8)
    windows = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(part, 8))
    words = windows.view(np.uint64)[:, 0]
    mixed = words[:-8] * HASH_MULTIPLIER ^ words[8:]
    return (mixed * HASH_MULTIPLIER) >> np.uint64(64 - HASH_BITS)
