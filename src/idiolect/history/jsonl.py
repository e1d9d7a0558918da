"""Reads and writes Idiolect's plain JSONL format of histories: one item or query per line.

``{"person": "ann", "id": "7", "time": 1700000000, "kind": "item", "fields": {"text": "..."},
"voices": ["bob"], "split": "test"}``; only ``person`` and ``fields`` are required. ``time`` is Unix
seconds or a date as text (see ``dates.py``). Lines without an ``id`` are numbered per person.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from idiolect.errors import DataError
from idiolect.history.dates import to_unix
from idiolect.history.history import History
from idiolect.storage.files import explain_os_errors, write_atomic

_KEYS = ("person", "id", "time", "kind", "fields", "voices", "split")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """One validated line of the file; ``id`` is empty if the line has none."""

    number: int
    person: str
    kind: str
    id: str
    time: float | None
    fields: Mapping[str, str]
    voices: tuple[str, ...]
    split: str


def iter_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the JSON objects of a file with line numbers from 1; skips blank lines.

    Raises DataError with file and line for text that is not UTF-8, not JSON, or not an object.
    """
    with explain_os_errors("read", path), path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            try:
                # Only the first line can begin with a byte order mark.
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                if not text:
                    continue
                record = json.loads(text)
            except UnicodeDecodeError as error:
                raise DataError(
                    f"not UTF-8 text (byte {error.start} of the line)", file=path, line=number
                ) from error
            except (ValueError, RecursionError) as error:
                raise DataError(f"not JSON: {error}", file=path, line=number) from error
            if not isinstance(record, dict):
                raise DataError(
                    f"expected a JSON object, found {type(record).__name__}", file=path, line=number
                )
            yield number, cast("dict[str, Any]", record)


def read_lines(path: Path) -> Iterator[HistoryLine]:
    """Yield the validated lines of a file; raises DataError with file and line."""
    for number, record in iter_json_lines(path):
        try:
            yield _parse_line(number, record)
        except DataError as error:
            raise DataError(str(error), file=path, line=number) from error


def _parse_line(number: int, record: Mapping[str, Any]) -> HistoryLine:
    """Validate one record; raises DataError without file and line (the caller adds them)."""
    for key in record:
        if key not in _KEYS:
            raise DataError(f"unknown key {key!r}", hint=f"known: {', '.join(_KEYS)}")
    # Check the container types first; _require_text and _parse_time check the values.
    kind = record.get("kind", "item")
    if kind not in ("item", "query"):
        raise DataError(f'\'kind\' is {kind!r}, not "item" or "query"')
    fields = record.get("fields")
    if not isinstance(fields, dict) or not fields:
        raise DataError("'fields' must be an object with at least one text")
    voices = record.get("voices", [])
    if not isinstance(voices, list):
        raise DataError("'voices' must be a list of people")
    return HistoryLine(
        number=number,
        person=_require_text(record.get("person"), "'person'", needed=True),
        kind=kind,
        id=_require_text(record.get("id", ""), "'id'"),
        time=_parse_time(record.get("time")),
        fields={
            name: _require_text(text, f"field {name!r}")
            for name, text in cast("dict[str, Any]", fields).items()
        },
        voices=tuple(_require_text(v, "a voice", needed=True) for v in cast("list[Any]", voices)),
        split=_require_text(record.get("split", ""), "'split'"),
    )


def _require_text(value: Any, what: str, *, needed: bool = False) -> str:
    """Return the value as text; numbers are accepted and converted."""
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        value = str(value)
    if not isinstance(value, str):
        raise DataError(f"{what} must be text, found {value!r}")
    if needed and not value.strip():
        raise DataError(f"{what} is empty or missing")
    return replace_surrogates(value)


def replace_surrogates(text: str) -> str:
    """Replace lone surrogates (halves of broken emoji), which UTF-8 files cannot contain."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _parse_time(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not -1e15 < value < 1e15:  # NaN also fails this
            raise DataError(f"'time' is {value!r}, not Unix seconds")
        return float(value)
    return to_unix(value)


def write_jsonl(path: Path, histories: Iterable[History], *, splits: Mapping[str, str]) -> None:
    """Write histories as plain JSONL atomically; ``splits`` may be empty."""
    lines = [line for history in histories for line in _format_lines(history, splits)]
    write_atomic(path, "".join(lines))


def _format_lines(history: History, splits: Mapping[str, str]) -> Iterator[str]:
    for kind, interactions in (("item", history.items), ("query", history.queries)):
        for i in interactions:
            record: dict[str, Any] = {"person": history.person, "id": i.id, "kind": kind}
            # Leave out what has no value, as in a file written by hand.
            if i.time is not None:
                record["time"] = i.time
            record["fields"] = dict(i.fields)
            if i.voices:
                record["voices"] = list(i.voices)
            if splits.get(history.person):
                record["split"] = splits[history.person]
            yield json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
