"""Who trained, shared, withdrew, was deleted: an append-only file that knows pseudonyms only.

``events.jsonl`` holds one event a line, each line with a hash over itself and the line before, so
that an edited, moved or removed line in the middle is noticed (whole lines cut off at the end are
not). ``people.json`` beside it maps people to random pseudonyms; once a person's entry there is
destroyed, nothing leads from the events to them.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from idiolect.errors import IntegrityError
from idiolect.storage.files import explain_os_errors, lock, read_json, write_json

Detail = str | int | float | bool
_FIRST = "0" * 64
_LINE_LIMIT = 1 << 16


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One event of one person."""

    time: str
    """UTC, ISO 8601, to the second."""
    event: str
    who: str
    """A random pseudonym."""
    details: Mapping[str, Detail] = field(default_factory=dict[str, Detail])


class Ledger:
    """The events of one folder; many processes may write to it."""

    def __init__(self, folder: Path) -> None:
        self._events = folder / "events.jsonl"
        self._people = folder / "people.json"

    def record(
        self, event: str, people: Sequence[str], details: Mapping[str, Detail] | None = None
    ) -> None:
        """Append one event for each person; on the disk when this returns.

        ``details`` must not name anybody. Raises IntegrityError where the ledger was edited.
        """
        if not people:
            return
        time = datetime.now(UTC).isoformat(timespec="seconds")
        with lock(self._events, wait=True, what="the ledger"):
            pseudonyms = self._pseudonyms_for(people)
            with explain_os_errors("write", self._events), self._events.open("ab+") as stream:
                last, whole = _last_line(stream, self._events)
                stream.truncate(whole)
                lines: list[bytes] = []
                for person in people:
                    entry = Entry(
                        time=time, event=event, who=pseudonyms[person], details=details or {}
                    )
                    line, last = _line(entry, last)
                    lines.append(line)
                stream.write(b"".join(lines))
                stream.flush()
                os.fsync(stream.fileno())

    def entries(self) -> tuple[Entry, ...]:
        """All events, oldest first; raises IntegrityError, with the line, for an edited one."""
        if not self._events.exists():
            return ()
        with explain_os_errors("read", self._events):
            raw = self._events.read_bytes()
        found: list[Entry] = []
        last = _FIRST
        for number, line in enumerate(raw.split(b"\n")[:-1], 1):  # a torn last line has no end
            entry, last = _read_line(line, last, f"{self._events}:{number}")
            found.append(entry)
        return tuple(found)

    def of(self, person: str) -> tuple[Entry, ...]:
        """The events of one person; none once their pseudonym is destroyed."""
        who = self._mapping().get(person)
        return tuple(entry for entry in self.entries() if entry.who == who)

    def by_person(self) -> dict[str, tuple[Entry, ...]]:
        """Everyone's events in one reading; not of those whose pseudonym is destroyed."""
        people = {who: person for person, who in self._mapping().items()}
        out: dict[str, list[Entry]] = {person: [] for person in people.values()}
        for entry in self.entries():
            if entry.who in people:
                out[people[entry.who]].append(entry)
        return {person: tuple(entries) for person, entries in out.items()}

    def forget(self, person: str) -> bool:
        """Destroy the link from a person to their events; False where there was none."""
        with lock(self._events, wait=True, what="the ledger"):
            mapping = self._mapping()
            if mapping.pop(person, None) is None:
                return False
            write_json(self._people, mapping)
        return True

    def _mapping(self) -> dict[str, str]:
        return cast("dict[str, str]", read_json(self._people)) if self._people.exists() else {}

    def _pseudonyms_for(self, people: Sequence[str]) -> dict[str, str]:
        mapping = self._mapping()
        new = {person: secrets.token_hex(8) for person in people if person not in mapping}
        if new:
            mapping |= new
            write_json(self._people, mapping)
        return mapping


def _line(entry: Entry, before: str) -> tuple[bytes, str]:
    content = {
        "time": entry.time,
        "event": entry.event,
        "who": entry.who,
        "details": dict(entry.details),
    }
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    own = hashlib.sha256((before + text).encode()).hexdigest()
    line = f'{{"entry": {text}, "hash": "{own}"}}\n'.encode()
    assert len(line) <= _LINE_LIMIT, "an event's details must be short"
    return line, own


def _read_line(line: bytes, before: str | None, where: str) -> tuple[Entry, str]:
    """One line, checked against the line before where that is known."""
    try:
        content: Any = json.loads(line)
        entry = Entry(**content["entry"])
        if before is None or _line(entry, before)[0] == line + b"\n":
            return entry, str(content["hash"])
        what = "was changed after it was written"
    except (ValueError, KeyError, TypeError) as error:
        what = f"is no entry of a ledger ({error})"
    raise IntegrityError(f"{where}: {what}; restore the ledger from a copy")


def _last_line(stream: Any, path: Path) -> tuple[str, int]:
    """The last whole line's hash, and the length of the file without a torn line at its end."""
    size = stream.seek(0, os.SEEK_END)
    start = max(0, size - 2 * _LINE_LIMIT)
    stream.seek(start)
    tail = cast("bytes", stream.read())
    whole = tail[: tail.rfind(b"\n") + 1]
    if not whole and start:
        raise IntegrityError(f"{path}: has no lines; restore the ledger from a copy")
    if not whole:
        return _FIRST, 0
    _, last = _read_line(whole.splitlines()[-1], None, f"{path}: the last line")
    return last, start + len(whole)
