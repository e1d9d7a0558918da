"""The event ledger: an append-only record of who trained, shared, withdrew or was deleted.

``events.jsonl`` contains one event per line and only pseudonyms. Each line has a hash over itself
and the line before it, so that an edited, moved or removed line is detected. ``end.json`` says
where the file ends, so that a cut is detected, too: without the line that revokes a consent, the
consent would be valid again. ``people.json`` maps people to random pseudonyms. After a person's
entry there is destroyed, nothing leads from the events to the person.

An event exists as soon as ``end.json`` holds its line. This file is written first, in one step;
then the line is appended to ``events.jsonl``. Readers take lines that are missing there from
``end.json``, and the next writer appends them. So a kill in between loses nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from idiolect.errors import ArtifactError, IntegrityError
from idiolect.storage.files import (
    explain_os_errors,
    hold_lock,
    read_json,
    write_atomic,
    write_json,
)
from idiolect.storage.permissions import create_empty_file

Detail = str | int | float | bool
_FIRST_HASH = ""
_MAX_LINE_BYTES = 1 << 16
_REMEDY = (
    "restore the ledger's folder from a copy; without one, `idiolect consent STORE --repair` keeps "
    "the lines that can be read and revokes all consents"
)


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One event of one person."""

    time: str
    """UTC, ISO 8601, to the second."""
    event: str
    who: str
    """The person's random pseudonym."""
    details: Mapping[str, Detail] = field(default_factory=dict[str, Detail])


@dataclass(frozen=True, slots=True, kw_only=True)
class _LedgerEnd:
    """Where a ledger ends: what must be in ``events.jsonl``, and the latest lines."""

    size: int = 0
    """The number of bytes in front of the latest lines."""
    last_hash: str = _FIRST_HASH
    """The hash of the last line in front of them."""
    latest: tuple[str, ...] = ()
    """The lines of the latest call; a killed writer has not appended all of them."""

    @property
    def latest_bytes(self) -> bytes:
        return "".join(self.latest).encode()


class Ledger:
    """The events of one folder. Several processes may append concurrently."""

    def __init__(self, folder: Path) -> None:
        self._events_file = folder / "events.jsonl"
        self._end_file = folder / "end.json"
        self._pseudonyms_file = folder / "people.json"

    def record_event(
        self, event: str, people: Sequence[str], details: Mapping[str, Detail] | None = None
    ) -> None:
        """Append one event per person; it is synced to disk when this function returns.

        The order of these events is that of the pseudonyms, so it does not depend on names.
        ``details`` must not contain anything that identifies a person. Raises IntegrityError if the
        ledger was cut off or its end was edited.
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
                size, last = self._append_latest(stream)
                lines: list[str] = []
                before = last
                for who in sorted(pseudonyms[person] for person in people):
                    entry = LedgerEntry(time=time, event=event, who=who, details=details or {})
                    line, last = _format_line(entry, last)
                    lines.append(line)
                # The new end first: from here on the events exist.
                end = _LedgerEnd(size=size, last_hash=before, latest=tuple(lines))
                write_json(self._end_file, asdict(end))
                stream.write(end.latest_bytes)
                stream.flush()
                os.fsync(stream.fileno())

    def read_entries(self) -> tuple[LedgerEntry, ...]:
        """Return all events, oldest first. Raises IntegrityError naming the line if one was edited
        or cut off."""
        raw, end = self._read_files()
        found: list[LedgerEntry] = []
        last = _FIRST_HASH
        # What must be there; a line that was cut has no newline and is dropped here.
        for line in raw[: end.size].split(b"\n")[:-1]:
            entry, last = _read_line(line, last, f"{self._events_file}:{len(found) + 1}")
            found.append(entry)
        where = f"{self._events_file}:{len(found) + 1}"
        if len(raw) < end.size or last != end.last_hash:
            raise IntegrityError(f"{where}: is missing, the file was cut off; {_REMEDY}")
        if not end.latest_bytes.startswith(raw[end.size :]):
            raise IntegrityError(f"{where}: was changed after it was written; {_REMEDY}")
        # The latest lines, which a killed writer may have left in the other file only.
        for line in end.latest_bytes.split(b"\n")[:-1]:
            entry, last = _read_line(line, last, f"{self._end_file}: event {len(found) + 1}")
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

    def read_readable_by_person(self) -> dict[str, tuple[LedgerEntry, ...]]:
        """Return the events of all people as ``read_by_person`` does, also from a ledger that was
        cut off or changed: all lines that can be parsed.

        Only for finding what has to be deleted: a damaged ledger is no reason to keep it.
        """
        people = {who: person for person, who in self._read_pseudonyms().items()}
        out: dict[str, list[LedgerEntry]] = {person: [] for person in people.values()}
        for entry in self._read_readable_entries():
            if entry.who in people:
                out[people[entry.who]].append(entry)
        return {person: tuple(entries) for person, entries in out.items()}

    def repair_file(self, event: str, details: Sequence[Mapping[str, Detail]]) -> None:
        """Make a ledger usable that was cut off or changed, from the lines that can be parsed.

        Each person gets the given event once for each of ``details``. A kill leaves the ledger
        damaged, so that the same call can be repeated.
        """
        time = datetime.now(UTC).isoformat(timespec="seconds")
        with self._lock_for_writing():
            entries = self._read_readable_entries()
            entries += [
                LedgerEntry(time=time, event=event, who=who, details=one)
                for who in sorted(self._read_pseudonyms().values())
                for one in details
            ]
            lines: list[str] = []
            last = _FIRST_HASH
            for entry in entries:
                line, last = _format_line(entry, last)
                lines.append(line)
            text = "".join(lines).encode()
            # The old end does not fit to the new events, so a kill in between is detected.
            write_atomic(self._events_file, text)
            write_json(self._end_file, asdict(_LedgerEnd(size=len(text), last_hash=last)))

    def knows_person(self, person: str) -> bool:
        """Whether a person has a pseudonym here."""
        return person in self._read_pseudonyms()

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
        for path in (
            self._events_file.parent,
            self._events_file,
            self._end_file,
            self._pseudonyms_file,
        ):
            if path.is_symlink():
                raise IntegrityError(
                    f"{path}: is a link; replace it by what it leads to, or remove it"
                )
        with hold_lock(self._events_file, wait=True, what="the ledger"):
            yield

    def _read_files(self) -> tuple[bytes, _LedgerEnd]:
        """Return the bytes of the events and the end as they were at one moment, without a lock."""
        while True:
            end = self._read_end()
            raw = b""
            if self._events_file.exists():
                with explain_os_errors("read", self._events_file):
                    raw = self._events_file.read_bytes()
            # A writer changes the end first: if it is the same, both belong together.
            if self._read_end() == end:
                self._require_end(len(raw))
                return raw, end

    def _read_readable_entries(self) -> list[LedgerEntry]:
        """Return what can be parsed of the events, and of the latest ones at the end."""
        raw = b""
        if self._events_file.exists():
            with explain_os_errors("read", self._events_file):
                raw = self._events_file.read_bytes()
        found = [line for line in raw.split(b"\n") if line]
        with suppress(ArtifactError):  # the end can be damaged, too
            found += self._read_end().latest_bytes.split(b"\n")
        # A line is in both files unless a writer was killed in between.
        entries = (_parse_line(line) for line in dict.fromkeys(found))
        return [entry for entry in entries if entry is not None]

    def _read_end(self) -> _LedgerEnd:
        """Return the recorded end; that of an empty ledger if there is no file."""
        if not self._end_file.exists():
            return _LedgerEnd()
        content = read_json(self._end_file)
        try:
            return _LedgerEnd(
                size=int(content["size"]),
                last_hash=str(content["last_hash"]),
                latest=tuple(content["latest"]),
            )
        except (KeyError, TypeError) as error:
            raise IntegrityError(
                f"{self._end_file}: not the end of a ledger ({error}); {_REMEDY}"
            ) from error

    def _require_end(self, size: int) -> None:
        """Raise IntegrityError if there are ``size`` bytes of events but no file of their end."""
        if size and not self._end_file.exists():
            raise IntegrityError(f"{self._end_file}: is missing; {_REMEDY}")

    def _append_latest(self, stream: BinaryIO) -> tuple[int, str]:
        """Append those of the latest lines that a killed writer has not appended; return the size
        of the file and the hash of its last line.

        Raises IntegrityError if the lines in front of them do not end as recorded.
        """
        size, end = stream.seek(0, os.SEEK_END), self._read_end()
        self._require_end(size)
        if size < end.size or _read_last_hash(stream, end.size) != end.last_hash:
            raise IntegrityError(
                f"{self._events_file}: was cut off or its last line was changed; {_REMEDY}"
            )
        stream.seek(end.size)
        tail = stream.read()
        if not end.latest_bytes.startswith(tail):
            raise IntegrityError(
                f"{self._events_file}: its last line was changed after it was written; {_REMEDY}"
            )
        stream.write(end.latest_bytes[len(tail) :])
        # On disk before the next end says that they are there.
        stream.flush()
        os.fsync(stream.fileno())
        last = json.loads(end.latest[-1])["hash"] if end.latest else end.last_hash
        return end.size + len(end.latest_bytes), str(last)

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


def _format_line(entry: LedgerEntry, before: str) -> tuple[str, str]:
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
    line = f'{{"entry": {text}, "hash": "{own}"}}\n'
    assert len(line) <= _MAX_LINE_BYTES, "an event's details must be short"
    return line, own


def _read_line(line: bytes, before: str, where: str) -> tuple[LedgerEntry, str]:
    """Parse one line and check it against the hash of the line before; return entry and hash."""
    try:
        content: Any = json.loads(line)
        entry = LedgerEntry(**content["entry"])
        if _format_line(entry, before)[0].encode() == line + b"\n":
            return entry, str(content["hash"])
        what = "was changed after it was written"
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = f"is not a ledger entry ({error})"
    raise IntegrityError(f"{where}: {what}; {_REMEDY}")


def _parse_line(line: bytes) -> LedgerEntry | None:
    """Return the entry of a line without checking its hash; ``None`` if it cannot be parsed."""
    try:
        entry = LedgerEntry(**json.loads(line)["entry"])
        _format_line(entry, _FIRST_HASH)
    except (ValueError, KeyError, TypeError, AssertionError, RecursionError):
        return None
    return entry


def _read_last_hash(stream: BinaryIO, size: int) -> str:
    """Return the hash in the last of the lines in the first ``size`` bytes; empty if that is not a
    line."""
    if not size:
        return _FIRST_HASH
    start = max(0, size - _MAX_LINE_BYTES)
    stream.seek(start)
    lines = stream.read(size - start).splitlines()
    try:
        return str(json.loads(lines[-1])["hash"])
    except (ValueError, KeyError, TypeError):
        return ""
