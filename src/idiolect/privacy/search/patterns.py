"""What is searched for: pieces of a person's texts, their short texts, and bytes of tensors.

Long texts are compared by their letters and digits alone, in lower case and without accents. So
spaces, line ends, punctuation and quote marks between the words do not matter. Undecoded bytes are
compared by their ASCII letters and digits, which are the same in UTF-8, UTF-16, UTF-32 and all
common one-byte encodings. This module does not read files.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from idiolect.privacy.fingerprints import Fingerprint, hash_value
from idiolect.privacy.search.pattern_search import (
    PREFIX_BYTES,
    FingerprintSearch,
    PatternSearch,
    hash_prefix,
)

MIN_PATTERN_CHARS = 20
"""Minimum length of a text pattern. Shorter texts are searched for as whole values only."""
PATTERN_CHARS = 32
"""Longer texts are split into pieces of this length, so that a part of a text is found, too."""
MIN_SHORT_CHARS = 8
"""Shorter texts ("yes") occur everywhere, and are not searched for."""
TENSORS_FOUND = "weights of their adapter"
"""What ``find_in_bytes`` reports for tensors."""
_CHUNK_SIZE = 1 << 22
_LOWER = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))
_ASCII_WORD = bytes(n for n in range(128) if chr(n).isalnum())
_NOT_ASCII_WORD = bytes(set(range(256)) - set(_ASCII_WORD))
# In decoded text, NUL separates two texts, and no pattern may match across it.
_ASCII_GAPS = bytes(set(range(1, 128)) - set(_ASCII_WORD))
_OTHER_GAPS = re.compile(r"[^\x00-\x7f\w]+")
_CELL_ENDS = re.compile(r"[\r\n\t,;|]|: ")
_UNSPACED_ENCODINGS = (
    *("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "cp1251", "koi8-r", "iso8859-7"),
    *("cp1255", "cp1256", "gb18030", "big5", "shift_jis", "euc_jp", "euc_kr", "tis-620"),
)
"""Encodings in which texts without ASCII letters are searched for in undecoded bytes."""


def normalize_text(text: str) -> str:
    """Return the text in the form used for whole values: NFKC, case-folded, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def reduce_text(text: str) -> bytes:
    """Return a text's letters and digits in lower case without accents, as UTF-8; NUL is kept."""
    if text.isascii():
        return text.encode().translate(_LOWER, _ASCII_GAPS)
    letters = _OTHER_GAPS.sub("", unicodedata.normalize("NFKD", text).casefold())
    return letters.encode("utf-8", errors="ignore").translate(None, _ASCII_GAPS)


def reduce_bytes(raw: bytes) -> bytes:
    """Return the ASCII letters and digits of undecoded bytes in lower case."""
    return raw.translate(_LOWER, _NOT_ASCII_WORD)


def decode_utf8(raw: bytes) -> str | None:
    """Decode bytes that may begin or end within a character; ``None`` if they are no text."""
    start = next((n for n, byte in enumerate(raw[:4]) if byte & 0xC0 != 0x80), 0)
    try:
        return codecs.utf_8_decode(raw[start:], "strict", False)[0]
    except UnicodeDecodeError:
        # A text with a few damaged characters is still a text.
        return None if b"\x00" in raw else raw.decode("utf-8", errors="replace")


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
    return frozenset(piece for piece in out if _is_long_enough(piece))


def split_short_texts(texts: Iterable[str]) -> tuple[frozenset[str], int]:
    """Return texts and lines that are too short for a pattern but can be told apart as a whole
    value, and the number of those that cannot.

    A short text can be told apart if it has several words, a digit or a sign.
    """
    lines = {normalize_text(line) for text in texts for line in (text, *text.splitlines())}
    short = {line for line in lines if line and not _is_long_enough(line)}
    distinct = {line for line in short if len(line) >= MIN_SHORT_CHARS and not line.isalpha()}
    return frozenset(distinct), len(short - distinct)


def _is_long_enough(piece: str) -> bool:
    return len(piece) >= MIN_PATTERN_CHARS and len(_reduce_pattern(piece)) >= PREFIX_BYTES


def _reduce_pattern(piece: str) -> bytes:
    return reduce_text(piece).replace(b"\x00", b"")


@dataclass(frozen=True, kw_only=True)
class HashedPatterns:
    """Patterns of an earlier run, of which only keyed hashes are left."""

    key: str
    texts: frozenset[Fingerprint] = frozenset()
    tensors: frozenset[Fingerprint] = frozenset()
    short: frozenset[str] = frozenset()
    """Digests of short texts."""

    @cached_property
    def text_search(self) -> FingerprintSearch:
        """The search for the texts in reduced text."""
        return FingerprintSearch(self.texts, lambda raw: hash_value(self.key, raw))

    @cached_property
    def tensor_search(self) -> FingerprintSearch:
        """The search for the tensors."""
        return FingerprintSearch(self.tensors, lambda raw: hash_value(self.key, raw))


@dataclass(frozen=True)
class SearchPatterns:
    """Patterns to search for: pieces of texts (see ``split_into_patterns``), bytes of tensors,
    short texts (see ``split_short_texts``), and the hashes of an earlier run."""

    texts: frozenset[str] = frozenset()
    tensors: frozenset[bytes] = frozenset()
    short: frozenset[str] = frozenset()
    hashed: HashedPatterns | None = None

    def __bool__(self) -> bool:
        return bool(self.texts or self.tensors or self.short or self.hashed)

    def exclude_texts(self, common: Collection[str]) -> SearchPatterns:
        """Return the patterns without these texts."""
        return replace(self, texts=self.texts.difference(common))

    def hash_patterns(self, key: str) -> HashedPatterns:
        """Return the keyed hashes of these patterns, and those of an earlier run under the same
        key."""

        def hash_all(patterns: Iterable[bytes]) -> set[Fingerprint]:
            return {
                Fingerprint(prefix=hash_prefix(p), length=len(p), digest=hash_value(key, p))
                for p in patterns
            }

        old = self.hashed or HashedPatterns(key=key)
        assert old.key == key
        return HashedPatterns(
            key=key,
            texts=old.texts.union(hash_all(self._texts_by_form)),
            tensors=old.tensors.union(hash_all(self.tensors)),
            short=old.short.union(hash_value(key, text) for text in self.short),
        )

    def find_in_text(self, text: str) -> set[str]:
        """Return which text patterns occur in a text; digests of those that are hashed."""
        return self._find_reduced(reduce_text(text))

    def find_in_texts(self, texts: Iterable[str]) -> Iterator[str]:
        """Yield the text patterns that occur in many texts, searched in batches; may repeat a
        pattern."""
        pending: list[bytes] = []
        size = 0
        for text in texts:
            pending.append(reduce_text(text))
            size += len(text)
            # NUL separates the texts, so that no pattern matches across two of them.
            if size >= _CHUNK_SIZE:
                yield from self._find_reduced(b"\x00".join(pending))
                pending, size = [], 0
        yield from self._find_reduced(b"\x00".join(pending))

    def find_in_bytes(self, raw: bytes) -> set[str]:
        """Return which text patterns occur in undecoded bytes, and ``TENSORS_FOUND`` if tensors
        do."""
        out = self._find_reduced(reduce_bytes(raw))
        # Letters that are not ASCII were left out above, with those of the patterns.
        if not raw.isascii() and (text := decode_utf8(raw)) is not None:
            out |= self._find_reduced(reduce_text(text.replace("\x00", "")))
        out |= {self._texts_by_encoding[found] for found in self._encoded_search.find_all(raw)}
        return out | ({TENSORS_FOUND} if self.contains_tensors(raw) else set())

    def contains_tensors(self, raw: bytes) -> bool:
        """Whether bytes of the tensors occur in ``raw``."""
        hashed = self.hashed is not None and bool(self.hashed.tensor_search.find_all(raw))
        return hashed or bool(self._tensor_search.find_all(raw))

    def matches_value(self, value: str) -> bool:
        """Whether a whole value is one of the short texts."""
        if not MIN_SHORT_CHARS <= len(value) <= 4 * MIN_PATTERN_CHARS:
            return False
        text = normalize_text(value)
        if text in self.short:
            return True
        hashed = self.hashed
        return hashed is not None and hash_value(hashed.key, text) in hashed.short

    def find_short_values(self, text: str) -> bool:
        """Whether a whole line or cell of a text, or what follows a name, is a short text."""
        cells = {cell.strip(" \"'") for cell in _CELL_ENDS.split(text)}
        return any(self.matches_value(cell) for cell in cells)

    @property
    def has_short(self) -> bool:
        """Whether there is a short text to search for."""
        return bool(self.short or (self.hashed and self.hashed.short))

    def _find_reduced(self, reduced: bytes) -> set[str]:
        out = {self._texts_by_form[found] for found in self._text_search.find_all(reduced)}
        return out | (self.hashed.text_search.find_all(reduced) if self.hashed else set())

    @cached_property
    def _texts_by_form(self) -> dict[bytes, str]:
        """The patterns by their reduced form, and by its ASCII letters alone if these suffice."""
        forms = {reduce_bytes(text.encode()): text for text in self.texts}
        forms |= {_reduce_pattern(text): text for text in self.texts}
        return {form: text for form, text in forms.items() if len(form) >= PREFIX_BYTES}

    @cached_property
    def _texts_by_encoding(self) -> dict[bytes, str]:
        """Patterns with too few ASCII letters, in the bytes of other encodings."""
        out: dict[bytes, str] = {}
        for text in self.texts:
            if len(reduce_bytes(text.encode())) >= PREFIX_BYTES:
                continue
            for encoding in _UNSPACED_ENCODINGS:
                # Case is not ignored in these bytes, so the usual beginning of a sentence counts.
                for form in (text, text.capitalize()):
                    raw = form.encode(encoding, errors="ignore")
                    out |= {raw: text} if len(raw) >= PREFIX_BYTES else {}
        return out

    @cached_property
    def _text_search(self) -> PatternSearch:
        return PatternSearch(self._texts_by_form)

    @cached_property
    def _encoded_search(self) -> PatternSearch:
        return PatternSearch(self._texts_by_encoding)

    @cached_property
    def _tensor_search(self) -> PatternSearch:
        return PatternSearch(self.tensors)
