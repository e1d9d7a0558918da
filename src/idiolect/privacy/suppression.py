"""The suppression list: hashes of forgotten people and records, so that no import brings them back.

The list holds no id and no text. A person's tag is a slow, salted hash (scrypt) of their id, which
can only be compared with an id that the reader already has. One such guess costs about 10 ms, so
ids from a small set (numbers, first names) can be found by trying: keep the file as private as a
ledger. The same hash gives a key, under which the contents of a person's forgotten records are
hashed; without the id, nothing can be said about them.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

from idiolect.errors import IntegrityError
from idiolect.storage.files import hold_lock, read_json, write_json

SUPPRESSION_FILE = "suppressed.json"
"""The name of the list beside a dataset or a store."""
_FORMAT = "idiolect-suppression"
_COST = {"n": 1 << 12, "r": 8, "p": 1}
"""Parameters of scrypt: 4 MB and about 10 ms for each id."""


class SuppressionList:
    """The forgotten people and records of one file. Opening a missing file gives an empty list."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._load()

    def _load(self) -> None:
        content = _read_content(self.path)
        self._salt = bytes.fromhex(content["salt"])
        self._people: dict[str, list[str] | None] = dict(content["people"])
        """By tag: ``None`` for a whole person, or the hashes of records."""
        self._keys: dict[str, tuple[str, bytes]] = {}

    @property
    def people_count(self) -> int:
        """The number of people who were forgotten entirely."""
        return sum(records is None for records in self._people.values())

    @property
    def record_count(self) -> int:
        """The number of records that were forgotten."""
        return sum(len(records or ()) for records in self._people.values())

    def contains_person(self, person: str, task: str) -> bool:
        """Whether a person was forgotten entirely."""
        if not self._people:
            return False
        tag, _ = self._derive_key(person, task)
        return tag in self._people and self._people[tag] is None

    def find_records(self, person: str, task: str, contents: Collection[str]) -> frozenset[str]:
        """Return which of these contents of a person's records were forgotten.

        A content is ``Interaction.compute_fingerprint``.
        """
        if not self._people:
            return frozenset()
        tag, key = self._derive_key(person, task)
        known = set(self._people.get(tag) or ())
        return frozenset(c for c in contents if known and _hash_content(key, c) in known)

    def add_person(self, person: str, task: str) -> bool:
        """Add a whole person; returns False if the list already has them."""
        return self._change(person, task, None)

    def add_records(self, person: str, task: str, contents: Collection[str]) -> bool:
        """Add records of a person by their contents; returns False if the list has them all."""
        return self._change(person, task, contents)

    def remove_person(self, person: str, task: str) -> bool:
        """Take a person off the list, with all their records; returns False if they are not on
        it."""
        with hold_lock(self.path, wait=True, what="the suppression list"):
            self._load()
            tag, _ = self._derive_key(person, task)
            if tag not in self._people:
                return False
            del self._people[tag]
            self._save()
        return True

    def contains_any(self, person: str, task: str) -> bool:
        """Whether a person, or one of their records, is on the list."""
        return self._derive_key(person, task)[0] in self._people

    def would_add(self, person: str, task: str, contents: Collection[str] | None) -> bool:
        """Whether adding a whole person (``None``) or records would change the list."""
        tag, key = self._derive_key(person, task)
        current = self._people.get(tag, [])
        if current is None:
            return False
        return contents is None or not {_hash_content(key, c) for c in contents} <= {*current}

    def _change(self, person: str, task: str, contents: Collection[str] | None) -> bool:
        with hold_lock(self.path, wait=True, what="the suppression list"):
            # Another process may have added people since this list was read.
            self._load()
            if not self.would_add(person, task, contents):
                return False
            tag, key = self._derive_key(person, task)
            current = self._people.get(tag) or []
            self._people[tag] = (
                None
                if contents is None
                else sorted({*current, *(_hash_content(key, c) for c in contents)})
            )
            self._save()
        return True

    def _save(self) -> None:
        # Sorted by tag: the order must not tell who was forgotten first.
        people = dict(sorted(self._people.items()))
        content = {"format": _FORMAT, "version": 1, "salt": self._salt.hex(), "people": people}
        write_json(self.path, content)

    def _derive_key(self, person: str, task: str) -> tuple[str, bytes]:
        """Return a person's tag, and the key for the contents of their records."""
        # A number means different people in different tasks.
        name = f"{task}\x00{person}" if person.isdigit() else person
        if name not in self._keys:
            raw = hashlib.scrypt(name.encode(), salt=self._salt, dklen=48, **_COST)
            self._keys[name] = (raw[:16].hex(), raw[16:])
        return self._keys[name]


def _hash_content(key: bytes, content: str) -> str:
    return hmac.new(key, content.encode(), hashlib.sha256).hexdigest()[:32]


def _read_content(path: Path) -> dict[str, Any]:
    """Read a list; a missing file is an empty list with a new salt."""
    if not path.exists():
        return {"salt": secrets.token_hex(16), "people": {}}
    content: Any = read_json(path)
    found = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    if found.get("format") != _FORMAT or not isinstance(found.get("people"), dict):
        raise IntegrityError(f"{path}: not a suppression list")
    return found
