"""Readers for files of records: each yields records as mappings, with line or record numbers.

The meaning of columns is defined in ``formats.py``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from idiolect.errors import DataError
from idiolect.history.jsonl import iter_json_lines
from idiolect.importers.parsing import read_json
from idiolect.storage.files import explain_os_errors

Record = Mapping[str, Any]


def read_records(path: Path) -> Iterator[tuple[int, Record]]:
    """Yield the records of a file, in the format of its suffix, each with its line (CSV, JSONL) or
    its number from 1.

    Raises MissingError if the file does not exist, and DataError if it is broken or has an unknown
    suffix.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"files with suffix {path.suffix!r} are not supported",
            file=path,
            hint=f"known: {SUPPORTED_SUFFIXES}",
        )
    return reader(path)


def _read_utf8(path: Path) -> str:
    """Read a text file, with or without a byte order mark. Raises DataError if it is not UTF-8."""
    with explain_os_errors("read", path):
        raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Report the line of the first invalid byte.
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError("not UTF-8 text", file=path, line=line) from error


def _read_csv(path: Path) -> Iterator[tuple[int, Record]]:
    """Yield the rows below the header, which is the first line that is not a comment (PyRIT writes
    its version above the header)."""
    lines = _read_utf8(path).splitlines(keepends=True)
    skipped = 0
    while skipped < len(lines) and lines[skipped].startswith("#"):
        skipped += 1
    # Line numbers in errors count the skipped comment lines too.
    reader = csv.DictReader(io.StringIO("".join(lines[skipped:]), newline=""), strict=True)
    try:
        for row in reader:
            # DictReader stores surplus fields under None, and fills missing ones with None.
            if None in row or None in row.values():
                raise DataError(
                    "has a different number of fields than the header",
                    file=path,
                    line=skipped + reader.line_num,
                )
            yield skipped + reader.line_num, row
    except csv.Error as error:
        raise DataError(f"not CSV: {error}", file=path, line=skipped + reader.line_num) from error


def _read_json_records(path: Path) -> Iterator[tuple[int, Record]]:
    return _iter_records(read_json(path), path)


def _read_yaml(path: Path) -> Iterator[tuple[int, Record]]:
    """Read a YAML file of records."""
    try:
        content = yaml.safe_load(_read_utf8(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else None
        raise DataError("not YAML", file=path, line=line) from error
    return _iter_records(content, path)


def _iter_records(content: Any, path: Path) -> Iterator[tuple[int, Record]]:
    """Yield the records of a list, or of an object with a list under ``seeds``, ``prompts``, or
    ``data``."""
    if isinstance(content, dict):
        found = cast("dict[str, Any]", content)
        content = next((found[k] for k in ("seeds", "prompts", "data") if k in found), None)
    if not isinstance(content, list):
        raise DataError("expected a list of records", file=path)
    for number, record in enumerate(cast("list[Any]", content), start=1):
        # PyRIT's seed files may list plain strings.
        if isinstance(record, str):
            record = {"value": record}
        if not isinstance(record, dict):
            raise DataError(f"record {number} is not an object", file=path)
        yield number, cast("dict[str, Any]", record)


def _read_parquet(path: Path) -> Iterator[tuple[int, Record]]:
    """Read a Parquet file. pyarrow is imported only here, because it loads slowly."""
    import pyarrow.lib
    import pyarrow.parquet

    with explain_os_errors("read", path):
        try:
            rows = pyarrow.parquet.read_table(path).to_pylist()
        except pyarrow.lib.ArrowInvalid as error:
            raise DataError(f"not Parquet: {error}", file=path) from error
    yield from enumerate(rows, start=1)


_READERS: Mapping[str, Callable[[Path], Iterator[tuple[int, Record]]]] = {
    ".jsonl": iter_json_lines,
    ".json": _read_json_records,
    ".csv": _read_csv,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".prompt": _read_yaml,
    ".parquet": _read_parquet,
}
SUPPORTED_SUFFIXES = ", ".join(_READERS)
