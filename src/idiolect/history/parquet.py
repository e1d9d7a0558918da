"""The two Parquet files of a dataset, as rows of plain values. Only this module and
``privacy/search/readers.py``, which reads any Parquet file, use pyarrow."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import pyarrow  # pyright: ignore[reportMissingTypeStubs]
import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs]

from idiolect.errors import DataError, IntegrityError
from idiolect.history.interaction import Interaction
from idiolect.storage.files import explain_os_errors

_pa = cast("Any", pyarrow)  # pyarrow has no type information
_pq = cast("Any", pyarrow.parquet)

GROUP_ROWS = 4096
"""A row group ends at the first person boundary after this many rows; bounds the memory use."""

MAX_GROUP_BYTES = 1 << 30
"""Largest row group that is read; it holds a few thousand rows, or one person's."""
MAX_INDEX_BYTES = 1 << 28
"""Largest index of people that is read, enough for a million people."""

_ROW_SCHEMA = _pa.schema(
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
_LOCATION_SCHEMA = _pa.schema(
    [_pa.field(name, _pa.string(), nullable=False) for name in ("person", "split")]
    + [
        _pa.field(name, _pa.int64(), nullable=False)
        for name in ("items", "queries", "group", "offset")
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParquetRow:
    """One item or query, and the person it belongs to."""

    person: str
    kind: str
    """``item`` or ``query``."""
    interaction: Interaction


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLocation:
    """One person's counts, and where their rows are: a row group and the first row in it."""

    person: str
    split: str
    items: int
    queries: int
    group: int
    offset: int

    @property
    def row_count(self) -> int:
        """The number of rows of the person."""
        return self.items + self.queries


class RowWriter:
    """Writes rows into a Parquet file; a person's rows are never split over row groups."""

    def __init__(self, path: Path) -> None:
        self._file = _pq.ParquetWriter(path, _ROW_SCHEMA, compression="zstd")
        self._pending_rows: list[dict[str, Any]] = []
        self._group_index = 0

    def write_person(self, rows: Iterable[ParquetRow]) -> tuple[int, int]:
        """Add one person's rows; returns their row group and the first row in it."""
        location = (self._group_index, len(self._pending_rows))
        self._pending_rows += [_flatten_row(row) for row in rows]
        if len(self._pending_rows) >= GROUP_ROWS:
            self._flush_group()
        return location

    def _flush_group(self) -> None:
        if not self._pending_rows:
            return
        try:
            # Arrow rejects values that do not fit the schema, e.g. lone surrogates.
            table = _pa.Table.from_pylist(self._pending_rows, schema=_ROW_SCHEMA)
        except (_pa.ArrowInvalid, _pa.ArrowTypeError, UnicodeEncodeError) as error:
            people = f"{self._pending_rows[0]['person']!r} to {self._pending_rows[-1]['person']!r}"
            raise DataError(f"people {people}: a value cannot be stored: {error}") from error
        # Write the rows as exactly one row group, so that the group index stays valid.
        self._file.write_table(table, row_group_size=len(self._pending_rows))
        self._pending_rows, self._group_index = [], self._group_index + 1

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
                self._flush_group()
        finally:
            self._file.close()


def _flatten_row(row: ParquetRow) -> dict[str, Any]:
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
    """Reads rows of a Parquet file and caches the row group that it read last."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cached_group: tuple[int, Any] = (-1, None)

    def read_person(self, location: RowLocation) -> list[ParquetRow]:
        """Read the rows of one person; raises IntegrityError if the index does not match the
        file."""
        if not location.row_count:
            return []
        if self._cached_group[0] != location.group:
            self._cached_group = (location.group, self._read_group(location.group))
        # Check against the index: a wrong location must never return another person's rows.
        found = self._cached_group[1].slice(location.offset, location.row_count).to_pylist()
        if len(found) != location.row_count or any(
            row["person"] != location.person for row in found
        ):
            raise IntegrityError(
                f"{self._path}: the rows of {location.person!r} are not where the index says"
            )
        return [
            ParquetRow(
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

    def _read_group(self, group: int) -> Any:
        with explain_os_errors("read", self._path):
            try:
                with _pq.ParquetFile(self._path) as file:
                    size = file.metadata.row_group(group).total_byte_size
                    _limit_size(self._path, size, MAX_GROUP_BYTES)
                    return file.read_row_group(group)
            except (_pa.ArrowInvalid, IndexError) as error:
                raise IntegrityError(f"{self._path}: row group {group}: {error}") from error


def write_locations(path: Path, locations: Iterable[RowLocation]) -> None:
    """Write the index of people."""
    table = _pa.Table.from_pylist(
        [asdict(location) for location in locations], schema=_LOCATION_SCHEMA
    )
    _pq.write_table(table, path, compression="zstd")


def read_locations(path: Path) -> list[RowLocation]:
    """Read the index of people; raises IntegrityError if the file is not such an index."""
    with explain_os_errors("read", path):
        try:
            with _pq.ParquetFile(path) as file:
                sizes = [
                    file.metadata.row_group(group).total_byte_size
                    for group in range(file.metadata.num_row_groups)
                ]
                _limit_size(path, sum(sizes), MAX_INDEX_BYTES)
                table = file.read()
        except _pa.ArrowInvalid as error:
            raise IntegrityError(f"{path}: not readable as Parquet: {error}") from error
    if not table.schema.equals(_LOCATION_SCHEMA):
        raise IntegrityError(f"{path}: its columns are not {', '.join(_LOCATION_SCHEMA.names)}")
    names = [f.name for f in fields(RowLocation)]
    return [RowLocation(**{name: row[name] for name in names}) for row in table.to_pylist()]


def _limit_size(path: Path, size: int, limit: int) -> None:
    """Raise IntegrityError if data is too large once it is decompressed; a small file can hold very
    much."""
    if size > limit:
        raise IntegrityError(
            f"{path}: holds {size:,} bytes in one piece, decompressed; at most {limit:,} are read"
        )


def count_rows(path: Path) -> int:
    """Count the rows of the file; raises IntegrityError if its columns are not those of a
    dataset."""
    with explain_os_errors("read", path):
        try:
            with _pq.ParquetFile(path) as file:
                schema, total = file.schema_arrow, int(file.metadata.num_rows)
        except _pa.ArrowInvalid as error:
            raise IntegrityError(f"{path}: not readable as Parquet: {error}") from error
    if not schema.equals(_ROW_SCHEMA):
        raise IntegrityError(f"{path}: its columns are not {', '.join(_ROW_SCHEMA.names)}")
    return total
