"""Reads the values of structured files: JSON, JSON lines, SQLite, Parquet, Arrow, safetensors.

Each reader takes a file that can seek, and yields values with the keys that lead to them. Memory is
bounded: larger files than a reader takes raise LimitError.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePath
from typing import Any, BinaryIO, cast

from idiolect.privacy.search.containers import LimitError

LabeledValues = Iterator[tuple[str, str | bytes]]
"""Values of a file, each with the keys that lead to it (``people.3.person``)."""
MAX_JSON_BYTES = 64 << 20
MAX_MEMORY_BYTES = 256 << 20
"""Size of a database that is not on disk, and of a log that is copied."""
_JSON_SUFFIXES = frozenset((".json", ".ipynb", ".geojson", ".har"))
_LINES_SUFFIXES = frozenset((".jsonl", ".ndjson"))
_BATCH_ROWS = 1024


def recognize_structure(head: bytes, name: str) -> Callable[[BinaryIO, str], LabeledValues] | None:
    """Return the reader for a file with this beginning and name; ``None`` for other files.

    A reader raises ValueError if the file is not what its name says.
    """
    suffix = PurePath(name).suffix.lower()
    if head.startswith(b"SQLite format 3\x00"):
        return read_sqlite
    if head.startswith(b"PAR1"):
        return read_parquet
    if head.startswith((b"ARROW1\x00\x00", b"FEA1")):
        return read_arrow
    if suffix in _LINES_SUFFIXES:
        return read_json_lines
    # A backup of a JSON file has another suffix.
    if suffix in _JSON_SUFFIXES or head.lstrip()[:1] in (b"{", b"["):
        return read_json
    if _find_tensor_header(head) is not None:
        return read_tensor_header
    return None


def read_json(file: BinaryIO, name: str) -> LabeledValues:
    """Yield the values of a JSON file, or of JSON lines. Raises ValueError for other files."""
    raw = file.read(MAX_JSON_BYTES + 1)
    if len(raw) > MAX_JSON_BYTES:
        if PurePath(name).suffix.lower() not in _JSON_SUFFIXES:
            raise json.JSONDecodeError("a text that begins like JSON", "", 0)
        raise LimitError(f"it is larger than {MAX_JSON_BYTES >> 20} MB: searched as text only")
    stem = PurePath(name).stem
    text = _decode_json(raw)
    try:
        yield from walk_values(json.loads(text), stem)
    except ValueError:
        # Parse all lines first: one invalid line makes the file a text.
        lines = [json.loads(line) for line in text.split("\n") if line.strip()]
        for one in lines:
            yield from walk_values(one, stem)


def read_json_lines(file: BinaryIO, name: str) -> LabeledValues:
    """Yield the values of JSON lines, line by line. Raises ValueError for other files."""
    stem = PurePath(name).stem
    while line := file.readline(MAX_JSON_BYTES):
        if line.strip():
            yield from walk_values(json.loads(_decode_json(line)), stem)


def _decode_json(raw: bytes) -> str:
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    return raw.decode("utf-16" if wide else "utf-8-sig", errors="replace")


def walk_values(value: Any, keys: str) -> Iterator[tuple[str, str]]:
    """Yield every text and whole number in plain data, keys of objects included."""
    # A stack, because data can be nested deeper than Python's own stack.
    pending: list[tuple[Any, str]] = [(value, keys)]
    while pending:
        value, keys = pending.pop()
        if isinstance(value, str):
            yield keys, value
        elif isinstance(value, dict):
            entries = cast("dict[Any, Any]", value)
            for name in entries:
                yield keys, str(name)
            pending += [(below, f"{keys}.{name}"[-999:]) for name, below in entries.items()][::-1]
        elif isinstance(value, (list, tuple)):
            pending += [(below, keys) for below in cast("list[Any]", value)][::-1]
        elif isinstance(value, int) and not isinstance(value, bool):
            yield keys, str(value)


def read_sqlite(file: BinaryIO, name: str) -> LabeledValues:
    """Yield every cell of every table, with what its write-ahead log adds."""
    with _open_database(file) as db:
        # Nothing in the file may run code or write.
        db.execute("PRAGMA trusted_schema = OFF")
        db.execute("PRAGMA query_only = ON")
        named = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        # Listed first, because the text factory changes the type of names, too.
        tables = [str(table) for (table,) in named]
        db.text_factory = bytes  # a text column may contain invalid UTF-8
        errors: list[str] = []
        for table in tables:
            # A table that cannot be read (of a missing extension) does not hide the others.
            try:
                rows = db.execute('SELECT * FROM "' + table.replace('"', '""') + '"')
                columns = [f"{table}.{column[0]}" for column in rows.description]
                for row in rows:
                    for keys, value in zip(columns, row, strict=True):
                        if isinstance(value, int):
                            yield keys, str(value)
                        elif isinstance(value, bytes):
                            yield keys, value
            except sqlite3.Error as error:
                errors.append(f"table {table!r}: {error}")
        if errors:
            raise sqlite3.DatabaseError("; ".join(errors))


@contextmanager
def _open_database(file: BinaryIO) -> Generator[sqlite3.Connection]:
    """Open a database without writing to any file."""
    name: object = getattr(file, "name", None)
    path = Path(name) if isinstance(name, (str, Path)) else None
    log = path.with_name(f"{path.name}-wal") if path else None
    # Only a database in memory can be read together with its log, or from an archive.
    if path is None or (log is not None and log.is_file() and log.stat().st_size):
        image = bytearray(file.read(MAX_MEMORY_BYTES + 1))
        added = _read_limited(log) if log else b""
        if len(image) + len(added) > MAX_MEMORY_BYTES:
            raise LimitError(
                f"a database of more than {MAX_MEMORY_BYTES >> 20} MB with a log or in an archive"
            )
        _apply_log(image, added)
        # In memory, a database cannot be in the mode that has a log.
        image[18:20] = b"\x01\x01"
        with closing(sqlite3.connect(":memory:")) as db:
            db.deserialize(bytes(image))
            yield db
        return
    # Read-only and immutable: the scan must not create lock or journal files.
    place = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(place, uri=True)) as db:
        yield db


def _read_limited(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_MEMORY_BYTES + 1)


def _apply_log(image: bytearray, log: bytes) -> None:
    """Write the pages of a write-ahead log into a database, as its next opening would.

    Source: "WAL-Mode File Format" in the documentation of SQLite.
    """
    header = 32
    if len(log) < header:
        return
    page_bytes, salts = int.from_bytes(log[8:12], "big"), log[16:24]
    pages: dict[int, bytes] = {}
    for at in range(header, len(log) - 24 - page_bytes + 1, 24 + page_bytes):
        number, total = (int.from_bytes(log[at + n : at + n + 4], "big") for n in (0, 4))
        if log[at + 8 : at + 16] != salts:
            break  # frames of an earlier round, which the database holds already
        pages[number] = log[at + 24 : at + 24 + page_bytes]
        # A frame with a total commits all frames before it.
        if total and total * page_bytes <= MAX_MEMORY_BYTES:
            image += bytes(max(0, total * page_bytes - len(image)))
            for page, raw in pages.items():
                image[(page - 1) * page_bytes : page * page_bytes] = raw
            image[28:32] = total.to_bytes(4, "big")
            pages.clear()


def read_parquet(file: BinaryIO, name: str) -> LabeledValues:
    """Yield the cells and the metadata of a Parquet file, in batches of rows."""
    import pyarrow.parquet  # pyright: ignore[reportMissingTypeStubs]

    with cast("Any", pyarrow.parquet).ParquetFile(file) as opened:
        yield from _walk_metadata(opened.schema_arrow)
        for batch in opened.iter_batches(batch_size=_BATCH_ROWS):
            yield from _walk_batch(batch)


def read_arrow(file: BinaryIO, name: str) -> LabeledValues:
    """Yield the cells and the metadata of an Arrow (Feather) file."""
    import pyarrow  # pyright: ignore[reportMissingTypeStubs]

    with cast("Any", pyarrow).ipc.open_file(file) as opened:
        yield from _walk_metadata(opened.schema)
        for number in range(opened.num_record_batches):
            batch = opened.get_batch(number)
            for start in range(0, batch.num_rows, _BATCH_ROWS):
                yield from _walk_batch(batch.slice(start, _BATCH_ROWS))


def _walk_metadata(schema: Any) -> LabeledValues:
    for name in schema.names:
        yield "column", name
    for key, value in cast("dict[bytes, bytes]", schema.metadata or {}).items():
        yield "metadata", key
        yield "metadata", value


def _walk_batch(batch: Any) -> LabeledValues:
    for name in batch.schema.names:
        # Views and dictionaries become plain values; what has no Python form is an error.
        for value in batch.column(name).to_pylist():
            if isinstance(value, bytes):
                yield name, value
            else:
                yield from walk_values(value, name)


def _find_tensor_header(head: bytes) -> int | None:
    """Return where the header of a safetensors file begins; ``None`` if there is none.

    A checkpoint has a 32-byte checksum before the safetensors header.
    """
    for start in (0, 32):
        size = int.from_bytes(head[start : start + 8], "little")
        if 0 < size <= MAX_JSON_BYTES and head[start + 8 : start + 9] == b"{":
            return start
    return None


def read_tensor_header(file: BinaryIO, name: str) -> LabeledValues:
    """Yield the texts in the header of a safetensors file, or of a checkpoint."""
    start = _find_tensor_header(file.read(64))
    assert start is not None
    file.seek(start)
    content: Any = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    yield from walk_values(content, PurePath(name).stem)
    # Metadata values are JSON as text.
    metadata: Any = content.get("__metadata__", {})
    for text in cast("dict[str, str]", metadata).values() if isinstance(metadata, dict) else ():
        try:
            yield from walk_values(json.loads(text), "metadata")
        except (ValueError, TypeError, RecursionError):
            continue
