"""Keyed hashes of personal values: they recognize a value without storing it.

Anyone who has the hashes and the key can test guesses. A short or guessable value (an id, a phone
number, a usual answer) is therefore not protected by its hash: keep such files as private as the
values themselves.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

KEY_BYTES = 16
DIGEST_BYTES = 12


def make_key() -> str:
    """Return a new random key as hex digits."""
    return secrets.token_hex(KEY_BYTES)


def hash_value(key: str, value: str | bytes) -> str:
    """Return the keyed hash of a value as hex digits. A text is hashed as UTF-8."""
    raw = value if isinstance(value, bytes) else value.encode("utf-8", errors="surrogatepass")
    return hashlib.blake2b(raw, digest_size=DIGEST_BYTES, key=bytes.fromhex(key)).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """The hash of a byte pattern, and what finds the positions where it may begin."""

    prefix: tuple[int, int]
    """Weak hashes of the pattern's first bytes (``pattern_search.hash_prefix``)."""
    length: int
    """The pattern's length in bytes."""
    digest: str
    """The pattern's keyed hash."""
