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

LEAST = 20
"""Characters from which a text can tell anything: shorter ones are written by everybody."""
_PIECE = 32
"""Longer texts are looked for in pieces, so that a part of one is found, too."""
_HEAD = 16
"""Bytes by which a place is chosen for a whole comparison."""
_BITS = 22
"""Of a hash: with 50,000 heads one place in a hundred is compared for nothing."""
_ODD = np.uint64(0x9E3779B97F4A7C15)
_CHUNK = 1 << 22


def plain(text: str) -> str:
    """The text as it is compared: one form of each letter, small, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def pieces_of(texts: Iterable[str]) -> frozenset[str]:
    """What is looked for of some texts: each line in pieces of at least ``LEAST`` characters."""
    out: set[str] = set()
    for text in texts:
        for line in (text, *text.splitlines()):
            line = plain(line)
            starts = range(0, max(1, len(line) - LEAST + 1), _PIECE)
            out |= {line[at : at + _PIECE].strip() for at in starts}
            out.add(line[-_PIECE:].strip())
    return frozenset(piece for piece in out if len(piece) >= LEAST)


@dataclass(frozen=True)
class Needles:
    """What is looked for: pieces of texts (see ``pieces_of``), and bytes of tensors."""

    texts: frozenset[str] = frozenset()
    tensors: frozenset[bytes] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.texts or self.tensors)

    def but(self, common: Collection[str]) -> Needles:
        """Those that are not among these texts."""
        return Needles(self.texts.difference(common), self.tensors)

    def in_text(self, text: str) -> set[str]:
        """Which texts stand in a text."""
        return {self._spelled[n] for n in self._texts.found(plain(text).encode())}

    def in_texts(self, texts: Iterable[str]) -> Iterator[str]:
        """Which texts stand in many texts, some of them at a time; one may come more than once."""
        waiting: list[str] = []
        size = 0
        for text in texts:
            waiting.append(plain(text))
            size += len(text)
            if size >= _CHUNK:
                yield from self.in_text("\x00".join(waiting))
                waiting, size = [], 0
        yield from self.in_text("\x00".join(waiting))

    def in_bytes(self, raw: bytes) -> set[str]:
        """Which texts, and whether tensors (as ``TENSORS``), stand in bytes that nothing decodes.

        Only the case of ASCII letters is disregarded there.
        """
        out = {self._spelled[n] for n in self._texts.found(raw.lower())}
        return out | ({TENSORS} if self._tensors.found(raw) else set())

    def has_tensors(self, raw: bytes) -> bool:
        """Whether bytes of the tensors stand in these."""
        return bool(self._tensors.found(raw))

    @property
    def longest(self) -> int:
        """Bytes that the longest one has."""
        return max((len(n) for n in (*self._spelled, *self.tensors)), default=0)

    @cached_property
    def _spelled(self) -> dict[bytes, str]:
        return {text.encode(): text for text in self.texts}

    @cached_property
    def _texts(self) -> _Search:
        return _Search(self._spelled)

    @cached_property
    def _tensors(self) -> _Search:
        return _Search(self.tensors)


TENSORS = "numbers of their adapter"
"""What ``in_bytes`` calls tensors."""


class _Search:
    """Finds any of some byte strings: a place is compared in full where a hash of what begins there
    is that of one of their heads."""

    def __init__(self, wanted: Collection[bytes]) -> None:
        assert all(len(one) >= _HEAD for one in wanted)
        self._by_head: dict[bytes, list[bytes]] = {}
        for one in wanted:
            self._by_head.setdefault(one[:_HEAD], []).append(one)
        self._is_head = np.zeros(1 << _BITS, dtype=np.bool_)
        for head in self._by_head:
            self._is_head[_hashes(head)] = True

    def found(self, raw: bytes) -> set[bytes]:
        """Those that stand in ``raw``."""
        out: set[bytes] = set()
        if not self._by_head:
            return out
        for start in range(0, len(raw) - _HEAD + 1, _CHUNK):
            likely = self._is_head[_hashes(raw[start : start + _CHUNK + _HEAD - 1])]
            for at in (np.flatnonzero(likely) + start).tolist():
                for one in self._by_head.get(raw[at : at + _HEAD], ()):
                    if raw.startswith(one, at):
                        out.add(one)
        return out


def _hashes(raw: bytes) -> NDArray[np.uint64]:
    """A hash of the ``_HEAD`` bytes from each place on at which there are so many."""
    part = np.frombuffer(raw, dtype=np.uint8)
    windows = np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(part, 8))
    words = windows.view(np.uint64)[:, 0]
    mixed = words[:-8] * _ODD ^ words[8:]
    return (mixed * _ODD) >> np.uint64(64 - _BITS)
