"""The two Parquet files of a dataset, as rows of plain values; alone in knowing pyarrow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import pyarrow  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs]

from idiolect.errors import DataError, IntegrityError
from idiolect.history.interaction import Interaction
from idiolect.storage.files import explain_os_errors

_pa = cast("Any", pyarrow)  # it ships no types
_pq = cast("Any", pyarrow.parquet)

GROUP_ROWS = 4096
"""Rows after which a row group ends at the next person: about what is in memory at a time."""

_ROWS = _pa.schema(
    [
        _pa.field("person", _pa.string(), nullable=False),
        _pa.field("kind", _pa.string(), nullable=False),
        _pa.field("id", _pa.string(), nullable=False),
        _pa.field("time", _pa.float64()),
        _pa.field("position", _pa.int64(), nullable=False),
        _pa.field("fields", _pa.map_(_pa.string(), _pa.string()), nullable=False),
        _pa.field("voices", _pa.list_(_pa.string()), nullable=False),
    ]
)
_PEOPLE = _pa.schema(
    [_pa.field(name, _pa.string(), nullable=False) for name in ("person", "split")]
    + [
        _pa.field(name, _pa.int64(), nullable=False)
        for name in ("items", "queries", "group", "offset")
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One item or query, and whose it is."""

    person: str
    kind: str
    """``item`` or ``query``."""
    interaction: Interaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One person's counts, and where their rows are: a row group and the first row in it."""

    person: str
    split: str
    items: int
    queries: int
    group: int
    offset: int

    @property
    def rows(self) -> int:
        """How many rows the person has."""
        return self.items + self.queries


class RowWriter:
    """Writes rows into a Parquet file, a person's rows never apart."""

    def __init__(self, path: Path) -> None:
        self._file = _pq.ParquetWriter(path, _ROWS, compression="zstd")
        self._rows: list[dict[str, Any]] = []
        self._group = 0

    def write(self, rows: Iterable[Row]) -> tuple[int, int]:
        """Add one person's rows; returns their row group and the first row in it."""
        place = (self._group, len(self._rows))
        self._rows += [_flat(row) for row in rows]
        if len(self._rows) >= GROUP_ROWS:
            self._flush()
        return place

    def _flush(self) -> None:
        if not self._rows:
            return
        try:
            table = _pa.Table.from_pylist(self._rows, schema=_ROWS)
        except (_pa.ArrowInvalid, _pa.ArrowTypeError, UnicodeEncodeError) as error:
            people = f"{self._rows[0]['person']!r} to {self._rows[-1]['person']!r}"
            raise DataError(f"people {people}: a value cannot be stored: {error}") from error
        self._file.write_table(table, row_group_size=len(self._rows))
        self._rows, self._group = [], self._group + 1

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._file.close()


def _flat(row: Row) -> dict[str, Any]:
    i = row.interaction
    return {
        "person": row.person,
        "kind": row.kind,
        "id": i.id,
        "time": i.time,
        "position": i.position,
        "fields": list(i.fields.items()),
        "voices": list(i.voices),
    }


class RowReader:
    """Reads rows of a Parquet file; holds the row group it read last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: tuple[int, Any] = (-1, None)

    def read(self, place: Place) -> list[Row]:
        """The rows of one person."""
        if not place.rows:
            return []
        if self._held[0] != place.group:
            self._held = (place.group, self._group(place.group))
        found = self._held[1].slice(place.offset, place.rows).to_pylist()
        if len(found) != place.rows or any(row["person"] != place.person for row in found):
            raise IntegrityError(
                f"{self._path}: the rows of {place.person!r} are not in their place"
            )
        return [
            Row(
                person=row["person"],
                kind=row["kind"],
                interaction=Interaction(
                    id=row["id"],
                    position=row["position"],
                    fields=dict(row["fields"]),
                    time=row["time"],
                    voices=tuple(row["voices"]),
                ),
            )
            for row in found
        ]

    def _group(self, group: int) -> Any:
        with explain_os_errors("read", self._path):
            try:
                with _pq.ParquetFile(self._path) as file:
                    return file.read_row_group(group)
            except (_pa.ArrowInvalid, IndexError) as error:
                raise IntegrityError(f"{self._path}: row group {group}: {error}") from error


def write_places(path: Path, places: Iterable[Place]) -> None:
    """Write the index of people."""
    table = _pa.Table.from_pylist([asdict(place) for place in places], schema=_PEOPLE)
    _pq.write_table(table, path, compression="zstd")


def read_places(path: Path) -> list[Place]:
    """The index of people; raises IntegrityError where the file is none."""
    with explain_os_errors("read", path):
        try:
            table = _pq.read_table(path)
        except _pa.ArrowInvalid as error:
            raise IntegrityError(f"{path}: not readable as Parquet: {error}") from error
    if not table.schema.equals(_PEOPLE):
        raise IntegrityError(f"{path}: its columns are not {', '.join(_PEOPLE.names)}")
    names = [f.name for f in fields(Place)]
    return [Place(**{name: row[name] for name in names}) for row in table.to_pylist()]


def read_cells(path: Path) -> Iterator[tuple[str, str]]:
    """Every text in any Parquet file, and every whole number, each with its column's name.

    Raises IntegrityError where the file is none.
    """
    with explain_os_errors("read", path):
        try:
            with _pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group)
                    for name in table.column_names:
                        for value in table.column(name).to_pylist():
                            yield from ((name, text) for text in _texts_in(value))
        except _pa.ArrowInvalid as error:
            raise IntegrityError(f"{path}: not readable as Parquet: {error}") from error


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(cast("dict[Any, Any]", value).items())
    if isinstance(value, (list, tuple)):
        for below in cast("list[Any]", value):
            yield from _texts_in(below)
    elif isinstance(value, (str, int)) and not isinstance(value, bool):
        yield str(value)


def count_rows(path: Path) -> int:
    """How many rows the file has; raises IntegrityError where it has other columns than ours."""
    with explain_os_errors("read", path):
        try:
            with _pq.ParquetFile(path) as file:
                schema, total = file.schema_arrow, int(file.metadata.num_rows)
        except _pa.ArrowInvalid as error:
            raise IntegrityError(f"{path}: not readable as Parquet: {error}") from error
    if not schema.equals(_ROWS):
        raise IntegrityError(f"{path}: its columns are not {', '.join(_ROWS.names)}")
    return total
