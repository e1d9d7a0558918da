"""Decides whether a value, a text or bytes name a person by id. The case is ignored.

The less distinctive an id is, the more context a match needs: ``42`` and ``me`` occur everywhere.
"""

from __future__ import annotations

import re
import unicodedata

PERSON_KEYS = re.compile(
    r"person|people|user|who|voice|contributor|author|sender|speaker|member|player|account|served",
    re.IGNORECASE,
)
"""Keys under which a short or numeric value is considered a person's id."""
_MIN_ID_CHARS = 3
_DISTINCTIVE_ID_CHARS = 16
"""An id of this length, or one with a digit or sign, is not mistaken for an ordinary word."""


class PersonId:
    """A person's id; empty if no id is searched for."""

    def __init__(self, person: str) -> None:
        self.person = _fold_case(person)
        # A number or a one- or two-letter id occurs everywhere.
        is_ambiguous = person.isdigit() or len(person) < _MIN_ID_CHARS
        self._is_ambiguous = is_ambiguous
        self.is_distinctive = not is_ambiguous and (
            len(person) >= _DISTINCTIVE_ID_CHARS or not person.isalpha()
        )
        self._text_pattern = re.compile(rf"(?<!\w){re.escape(self.person)}(?!\w)")
        # Bytes may hold accents in one or two characters, and in one-byte encodings.
        forms = {
            unicodedata.normalize(form, self.person).encode(encoding, errors="ignore")
            for form in ("NFC", "NFD")
            for encoding in ("utf-8", "cp1252")
        }
        forms = {form for form in forms if len(form) >= min(len(person), _MIN_ID_CHARS)}
        self._byte_forms = set[bytes]() if is_ambiguous else forms

    def matches_value(self, keys: str, text: str) -> bool:
        """Whether a value in structured data is or contains the id.

        A whole value matches under a key about people, or anywhere if the id is not ambiguous.
        Inside a longer text, only a distinctive id matches.
        """
        if not self.person or len(text) < len(self.person) // 2:
            return False
        text = _fold_case(text)
        if text == self.person:
            return not self._is_ambiguous or bool(PERSON_KEYS.search(keys))
        return self.is_distinctive and self._contains(text)

    def matches_prose(self, text: str) -> bool:
        """Whether free text contains the id as a separate word; never for an ambiguous id."""
        return bool(self.person) and not self._is_ambiguous and self._contains(_fold_case(text))

    def matches_bytes(self, raw: bytes, *, is_prose: bool = False) -> bool:
        """Whether undecoded bytes contain the id as a separate word.

        Only a distinctive id matches, unless the bytes are prose; an ambiguous id never does.
        """
        if not self.is_distinctive and not is_prose:
            return False
        lower = raw.lower()
        # Without the zero bytes, UTF-16 and UTF-32 are one-byte encodings.
        forms = (lower, lower.replace(b"\x00", b"")) if b"\x00" in lower else (lower,)
        return any(
            wanted in form and re.search(rb"(?<!\w)" + re.escape(wanted) + rb"(?!\w)", form)
            for form in forms
            for wanted in self._byte_forms
        )

    def _contains(self, folded: str) -> bool:
        # A plain search is much faster, and nearly always fails.
        return self.person in folded and bool(self._text_pattern.search(folded))


def _fold_case(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFC", text).casefold()
