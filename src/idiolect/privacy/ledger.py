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
from idiolect.storage.files import explain_os_errors, hold_lock, read_json, write_json

Detail = str | int | float | bool
_FIRST_HASH = "0" * 64
_MAX_LINE_BYTES = 1 << 16


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
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
        self._events_file = folder / "events.jsonl"
        self._pseudonyms_file = folder / "people.json"

    def record_event(
        self, event: str, people: Sequence[str], details: Mapping[str, Detail] | None = None
    ) -> None:
        """Append one event for each person; on the disk when this returns.

        ``details`` must not name anybody. Raises IntegrityError where the ledger was edited.
        """
        if not people:
            return
        time = datetime.now(UTC).isoformat(timespec="seconds")
        with hold_lock(self._events_file, wait=True, what="the ledger"):
            pseudonyms = self._ensure_pseudonyms(people)
            with (
                explain_os_errors("write", self._events_file),
                self._events_file.open("ab+") as stream,
            ):
                last, whole = _read_last_line(stream, self._events_file)
                stream.truncate(whole)
                lines: list[bytes] = []
                for person in people:
                    entry = LedgerEntry(
                        time=time, event=event, who=pseudonyms[person], details=details or {}
                    )
                    line, last = _format_line(entry, last)
                    lines.append(line)
                stream.write(b"".join(lines))
                stream.flush()
                os.fsync(stream.fileno())

    def read_entries(self) -> tuple[LedgerEntry, ...]:
        """All events, oldest first; raises IntegrityError, with the line, for an edited one."""
        if not self._events_file.exists():
            return ()
        with explain_os_errors("read", self._events_file):
            raw = self._events_file.read_bytes()
        found: list[LedgerEntry] = []
        last = _FIRST_HASH
        for number, line in enumerate(raw.split(b"\n")[:-1], 1):  # a torn last line has no end
            entry, last = _read_line(line, last, f"{self._events_file}:{number}")
            found.append(entry)
        return tuple(found)

    def read_entries_of(self, person: str) -> tuple[LedgerEntry, ...]:
        """The events of one person; none once their pseudonym is destroyed."""
        who = self._read_pseudonyms().get(person)
        return tuple(entry for entry in self.read_entries() if entry.who == who)

    def read_by_person(self) -> dict[str, tuple[LedgerEntry, ...]]:
        """Everyone's events in one reading; not of those whose pseudonym is destroyed."""
        people = {who: person for person, who in self._read_pseudonyms().items()}
        out: dict[str, list[LedgerEntry]] = {person: [] for person in people.values()}
        for entry in self.read_entries():
            if entry.who in people:
                out[people[entry.who]].append(entry)
        return {person: tuple(entries) for person, entries in out.items()}

    def forget_person(self, person: str) -> bool:
        """Destroy the link from a person to their events; False where there was none."""
        with hold_lock(self._events_file, wait=True, what="the ledger"):
            mapping = self._read_pseudonyms()
            if mapping.pop(person, None) is None:
                return False
            write_json(self._pseudonyms_file, mapping)
        return True

    def _read_pseudonyms(self) -> dict[str, str]:
        return (
            cast("dict[str, str]", read_json(self._pseudonyms_file))
            if self._pseudonyms_file.exists()
            else {}
        )

    def _ensure_pseudonyms(self, people: Sequence[str]) -> dict[str, str]:
        mapping = self._read_pseudonyms()
        new = {person: secrets.token_hex(8) for person in people if person not in mapping}
        if new:
            mapping |= new
            write_json(self._pseudonyms_file, mapping)
        return mapping


def _format_line(entry: LedgerEntry, before: str) -> tuple[bytes, str]:
    content = {
        "time": entry.time,
        "event": entry.event,
        "who": entry.who,
        "details": dict(entry.details),
    }
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    own = hashlib.sha256((before + text).encode()).hexdigest()
    line = f'{{"entry": {text}, "hash": "{own}"}}\n'.encode()
    assert len(line) <= _MAX_LINE_BYTES, "an event's details must be short"
    return line, own


def _read_line(line: bytes, before: str | None, where: str) -> tuple[LedgerEntry, str]:
    """One line, checked against the line before where that is known."""
    try:
        content: Any = json.loads(line)
        entry = LedgerEntry(**content["entry"])
        if before is None or _format_line(entry, before)[0] == line + b"\n":
            return entry, str(content["hash"])
        what = "was changed after it was written"
    except (ValueError, KeyError, TypeError) as error:
        what = f"is no entry of a ledger ({error})"
    raise IntegrityError(f"{where}: {what}; restore the ledger from a copy")


def _read_last_line(stream: Any, path: Path) -> tuple[str, int]:
    """The last whole line's hash, and the length of the file without a torn line at its end."""
    size = stream.seek(0, os.SEEK_END)
    start = max(0, size - 2 * _MAX_LINE_BYTES)
    stream.seek(start)
    tail = cast("bytes", stream.read())
    whole = tail[: tail.rfind(b"\n") + 1]
    if not whole and start:
        raise IntegrityError(f"{path}: has no lines; restore the ledger from a copy")
    if not whole:
        return _FIRST_HASH, 0
    _, last = _read_line(whole.splitlines()[-1], None, f"{path}: the last line")
    return last, start + len(whole)
