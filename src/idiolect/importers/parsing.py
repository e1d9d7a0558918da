"""Reads files of other programs; every defect is a DataError with file and line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from idiolect.errors import DataError
from idiolect.storage.files import explain_os_errors


def read_lines(path: Path, *, encoding: str = "utf-8") -> Iterator[tuple[int, str]]:
    """Yield the lines of a text file without line ends, numbered from 1."""
    with explain_os_errors("read", path), path.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            try:
                yield (
                    number,
                    raw.decode(
                        "utf-8-sig" if number == 1 and encoding == "utf-8" else encoding
                    ).rstrip("\r\n"),
                )
            except UnicodeDecodeError as error:
                raise DataError(f"not {encoding} text", file=path, line=number) from error


def read_json(path: Path) -> Any:
    """Read a whole JSON file; the error names the line, even if the text is not UTF-8."""
    with explain_os_errors("read", path):
        raw = path.read_bytes()
    if not raw.strip():
        raise DataError("the file is empty", file=path)
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError("not UTF-8 text", file=path, line=line) from error
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg}", file=path, line=error.lineno) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON: {error}", file=path) from error


def read_start(path: Path, length: int) -> str:
    """Return about the first ``length`` characters of a text file, without leading white space."""
    with explain_os_errors("read", path), path.open("rb") as stream:
        return stream.read(length).decode("utf-8-sig", "replace").lstrip()


def require_object(value: Any, what: str, path: Path) -> dict[str, Any]:
    """Return the value as a JSON object; raises DataError naming ``what``, its place in the
    file."""
    if not isinstance(value, dict):
        raise DataError(f"{what}: expected an object, found {_describe_kind(value)}", file=path)
    return cast("dict[str, Any]", value)


def require_list(value: Any, what: str, path: Path) -> list[Any]:
    """Return the value as a JSON array; raises DataError naming ``what``, its place in the file."""
    if not isinstance(value, list):
        raise DataError(f"{what}: expected an array, found {_describe_kind(value)}", file=path)
    return cast("list[Any]", value)


def require_text(value: Any, what: str, path: Path) -> str:
    """Return a text, or a number as text (ids and scores occur as both); raises DataError."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise DataError(f"{what}: {value} is not a valid value", file=path)
        return str(int(value)) if value == int(value) else str(value)
    raise DataError(f"{what}: expected text, found {_describe_kind(value)}", file=path)


def _describe_kind(value: object) -> str:
    kinds = {"dict": "an object", "list": "an array", "str": "text", "NoneType": "nothing"}
    return kinds.get(type(value).__name__, repr(value))
