"""Keys that tell whether items of two people are the same record (a co-authored paper)."""

from __future__ import annotations

import hashlib
import unicodedata


def record_key(text: str) -> str | None:
    """Return a key (32 hex digits) that ignores case, spacing and punctuation.

    ``None`` for a text without a letter or digit: two such texts may be different records.
    """
    # Compatibility form first, so that ligatures and full-width letters compare as plain letters.
    plain = unicodedata.normalize("NFKC", text).casefold()
    letters = "".join(character for character in plain if character.isalnum())
    return hashlib.sha256(letters.encode()).hexdigest()[:32] if letters else None
