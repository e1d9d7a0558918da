"""Finds any of many byte patterns in long bytes, given in full or as hashes (Rabin-Karp).

Every position of the bytes is hashed with numpy. Only positions whose hash is that of a pattern's
beginning are compared in full, or hashed in full if only the patterns' hashes are known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idiolect.privacy.fingerprints import Fingerprint

PREFIX_BYTES = 12
"""Minimum length of a pattern. Its first eight and its last eight bytes of these are hashed."""
HASH_BITS = 20
"""Bits of a hash of eight bytes. The table of flags fits into a processor's cache."""
_MULTIPLIER = 0x9E3779B97F4A7C15
_SECOND_WORD = PREFIX_BYTES - 8
_BLOCK_BYTES = 1 << 17
"""Positions hashed at a time, so that the arrays stay in the cache."""


@dataclass(frozen=True)
class PrefixFilter:
    """Finds the positions at which one of the prefixes may begin."""

    first: NDArray[np.bool_]
    """Whether a hash is that of the first eight bytes of a prefix."""
    second: NDArray[np.bool_]
    """The same for the last eight bytes."""

    @staticmethod
    def from_hashes(hashes: Collection[tuple[int, int]]) -> PrefixFilter:
        """Return the filter for the hashes of some prefixes."""
        tables = (np.zeros(1 << HASH_BITS, np.bool_), np.zeros(1 << HASH_BITS, np.bool_))
        for pair in hashes:
            for table, value in zip(tables, pair, strict=True):
                table[value] = True
        return PrefixFilter(*tables)

    def find_candidates(self, raw: bytes) -> Iterator[int]:
        """Yield the positions, in ascending order."""
        last = len(raw) - PREFIX_BYTES
        for start in range(0, last + 1, _BLOCK_BYTES):
            part = raw[start : start + _BLOCK_BYTES + PREFIX_BYTES - 1]
            hashes = _hash_words(part)
            # The second word is looked at only where the first one fits.
            at = np.flatnonzero(self.first[hashes[: len(part) - PREFIX_BYTES + 1]])
            at = at[self.second[hashes[at + _SECOND_WORD]]]
            yield from (at + start).tolist()


class PatternSearch:
    """Finds patterns that are given in full."""

    def __init__(self, patterns: Collection[bytes]) -> None:
        assert all(len(pattern) >= PREFIX_BYTES for pattern in patterns)
        self._by_prefix: dict[bytes, list[bytes]] = {}
        for pattern in patterns:
            self._by_prefix.setdefault(pattern[:PREFIX_BYTES], []).append(pattern)
        self._filter = PrefixFilter.from_hashes({hash_prefix(p) for p in self._by_prefix})

    def find_all(self, raw: bytes) -> set[bytes]:
        """Return the patterns that occur in ``raw``."""
        out: set[bytes] = set()
        if not self._by_prefix:
            return out
        for at in self._filter.find_candidates(raw):
            # Different patterns may share a prefix.
            for pattern in self._by_prefix.get(raw[at : at + PREFIX_BYTES], ()):
                if raw.startswith(pattern, at):
                    out.add(pattern)
        return out


class FingerprintSearch:
    """Finds patterns of which only the hashes are known."""

    def __init__(
        self, fingerprints: Collection[Fingerprint], hash_bytes: Callable[[bytes], str]
    ) -> None:
        self._hash_bytes = hash_bytes
        self._by_prefix: dict[tuple[int, int], list[Fingerprint]] = {}
        for one in fingerprints:
            self._by_prefix.setdefault(one.prefix, []).append(one)
        self._filter = PrefixFilter.from_hashes(self._by_prefix.keys())

    def find_all(self, raw: bytes) -> set[str]:
        """Return the digests of the patterns that occur in ``raw``."""
        out: set[str] = set()
        if not self._by_prefix:
            return out
        for at in self._filter.find_candidates(raw):
            for one in self._by_prefix.get(hash_prefix(raw[at : at + PREFIX_BYTES]), ()):
                if self._hash_bytes(raw[at : at + one.length]) == one.digest:
                    out.add(one.digest)
        return out


def hash_prefix(pattern: bytes) -> tuple[int, int]:
    """Return the two hashes of a pattern's first ``PREFIX_BYTES`` bytes (see ``_hash_words``)."""
    words = (pattern[:8], pattern[_SECOND_WORD:PREFIX_BYTES])
    first, second = (
        (int.from_bytes(word, "little") * _MULTIPLIER & (1 << 64) - 1) >> 64 - HASH_BITS
        for word in words
    )
    return first, second


def _hash_words(raw: bytes) -> NDArray[Any]:
    """Hash the eight bytes that begin at each position of ``raw``."""
    words = np.empty(len(raw) - 7, np.uint64)
    # Eight views, each shifted by a byte, are faster than one copy per position.
    for shift in range(min(8, len(words))):
        count = (len(raw) - shift) // 8
        words[shift::8] = np.frombuffer(raw, "<u8", count, shift)
    np.multiply(words, np.uint64(_MULTIPLIER), out=words)
    np.right_shift(words, np.uint64(64 - HASH_BITS), out=words)
    return words.view(np.int64)
