"""The event ledger: an append-only record of who trained, shared, withdrew or was deleted.

``events.jsonl`` contains one event per line and only pseudonyms. Each line has a hash over itself
and the line before it, so that an edited, moved or removed line is detected (lines removed at the
end are not). ``people.json`` next to it maps people to random pseudonyms. After a person's entry
there is destroyed, nothing leads from the events to the person.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from idiolect.errors import IntegrityError
from idiolect.storage.files import explain_os_errors, hold_lock, read_json, write_json
from idiolect.storage.permissions import create_empty_file

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
    """The person's random pseudonym."""
    details: Mapping[str, Detail] = field(default_factory=dict[str, Detail])


class Ledger:
    """The events of one folder. Several processes may append concurrently."""

    def __init__(self, folder: Path) -> None:
        self._events_file = folder / "events.jsonl"
        self._pseudonyms_file = folder / "people.json"

    def record_event(
        self, event: str, people: Sequence[str], details: Mapping[str, Detail] | None = None
    ) -> None:
        """Append one event per person; it is synced to disk when this function returns.

        ``details`` must not contain anything that identifies a person. Raises IntegrityError if the
        ledger was edited.
        """
        if not people:
            return
        time = datetime.now(UTC).isoformat(timespec="seconds")
        with self._lock_for_writing():
            # Store new pseudonyms before events that use them.
            pseudonyms = self._ensure_pseudonyms(people)
            with explain_os_errors("write", self._events_file):
                create_empty_file(self._events_file)
            with (
                explain_os_errors("write", self._events_file),
                self._events_file.open("ab+") as stream,
            ):
                last, whole = _read_last_line(stream, self._events_file)
                # Drop a line that a killed process wrote only partly, then continue the hash chain.
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
        """Return all events, oldest first. Raises IntegrityError naming the line if one was
        edited."""
        if not self._events_file.exists():
            return ()
        with explain_os_errors("read", self._events_file):
            raw = self._events_file.read_bytes()
        found: list[LedgerEntry] = []
        last = _FIRST_HASH
        # A partly written last line has no newline: it is the element that is dropped here.
        for number, line in enumerate(raw.split(b"\n")[:-1], 1):
            entry, last = _read_line(line, last, f"{self._events_file}:{number}")
            found.append(entry)
        return tuple(found)

    def read_entries_of(self, person: str) -> tuple[LedgerEntry, ...]:
        """Return the events of one person; empty after their pseudonym was destroyed."""
        # An unknown person has no pseudonym, which matches no entry.
        who = self._read_pseudonyms().get(person)
        return tuple(entry for entry in self.read_entries() if entry.who == who)

    def read_by_person(self) -> dict[str, tuple[LedgerEntry, ...]]:
        """Return the events of all people in one pass, without people whose pseudonym was
        destroyed."""
        people = {who: person for person, who in self._read_pseudonyms().items()}
        out: dict[str, list[LedgerEntry]] = {person: [] for person in people.values()}
        for entry in self.read_entries():
            if entry.who in people:
                out[people[entry.who]].append(entry)
        return {person: tuple(entries) for person, entries in out.items()}

    def forget_person(self, person: str) -> bool:
        """Destroy the link from a person to their events; returns False if there was none."""
        with self._lock_for_writing():
            mapping = self._read_pseudonyms()
            # Overwrites the whole file; the events keep the pseudonym, which now belongs to no
            # person.
            if mapping.pop(person, None) is None:
                return False
            write_json(self._pseudonyms_file, mapping)
        return True

    @contextmanager
    def _lock_for_writing(self) -> Generator[None]:
        """Lock the ledger against other writers. Raises IntegrityError if it is not in its own
        folder: the events of another ledger would be changed."""
        for path in (self._events_file.parent, self._events_file, self._pseudonyms_file):
            if path.is_symlink():
                raise IntegrityError(
                    f"{path}: is a link; replace it by what it leads to, or remove it"
                )
        with hold_lock(self._events_file, wait=True, what="the ledger"):
            yield

    def _read_pseudonyms(self) -> dict[str, str]:
        return (
            cast("dict[str, str]", read_json(self._pseudonyms_file))
            if self._pseudonyms_file.exists()
            else {}
        )

    def _ensure_pseudonyms(self, people: Sequence[str]) -> dict[str, str]:
        """Return the map from people to pseudonyms, with new random ones for people who had
        none."""
        mapping = self._read_pseudonyms()
        new = {person: secrets.token_hex(8) for person in people if person not in mapping}
        if new:
            mapping |= new
            write_json(self._pseudonyms_file, mapping)
        return mapping


def _format_line(entry: LedgerEntry, before: str) -> tuple[bytes, str]:
    """Return an entry as a line of the file, and the line's hash over ``before`` and the
    content."""
    content = {
        "time": entry.time,
        "event": entry.event,
        "who": entry.who,
        "details": dict(entry.details),
    }
    # Canonical JSON, so that the hash can be computed again from the parsed line.
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    own = hashlib.sha256((before + text).encode()).hexdigest()
    line = f'{{"entry": {text}, "hash": "{own}"}}\n'.encode()
    assert len(line) <= _MAX_LINE_BYTES, "an event's details must be short"
    return line, own


def _read_line(line: bytes, before: str | None, where: str) -> tuple[LedgerEntry, str]:
    """Parse one line; check it against the hash of the line before if that is given."""
    try:
        content: Any = json.loads(line)
        entry = LedgerEntry(**content["entry"])
        if before is None or _format_line(entry, before)[0] == line + b"\n":
            return entry, str(content["hash"])
        what = "was changed after it was written"
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"is not a ledger entry ({error})"
    raise IntegrityError(f"{where}: {what}; restore the ledger from a copy")


def _read_last_line(stream: Any, path: Path) -> tuple[str, int]:
    """Return the hash of the last complete line, and the file length without a partly written
    line."""
    size = stream.seek(0, os.SEEK_END)
    # Two maximum line lengths always contain one complete line.
    start = max(0, size - 2 * _MAX_LINE_BYTES)
    stream.seek(start)
    tail = cast("bytes", stream.read())
    whole = tail[: tail.rfind(b"\n") + 1]
    # Two maximum lengths without a newline cannot be a ledger: do not truncate it.
    if not whole and start:
        raise IntegrityError(f"{path}: has no lines; restore the ledger from a copy")
    if not whole:
        return _FIRST_HASH, 0
    _, last = _read_line(whole.splitlines()[-1], None, f"{path}: the last line")
    return last, start + len(whole)
