"""Reads a JSON array of any size, one element at a time, with line numbers."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from idiolect.errors import DataError
from idiolect.storage.files import explain_os_errors

_DECODER = json.JSONDecoder()
_NOT_SPACE = re.compile(r"\S")
_VALUE_ENDINGS = tuple(" \t\r\n,]")
"""A value ends before one of these characters. Otherwise a number may continue in the next part."""
_READ_BYTES = 1 << 20
"""Minimum number of bytes per read."""


def iter_array(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the elements of a file that is one JSON array, each with the line where it starts.

    The file (the largest released one has 2.8 GB) is never completely in memory. Raises DataError
    with the line if the file is not an array of JSON values.
    """
    with explain_os_errors("read", path), path.open("rb") as stream:
        text = _TextWindow(path, stream)
        if text.peek_character() != "[":
            raise DataError(
                f"expected a JSON array, found {text.preview_text()}", file=path, line=text.line
            )
        text.skip_characters(1)
        if text.peek_character() == "]":
            text.skip_characters(1)
        else:
            # Alternate between a value and the comma or bracket after it.
            mark = ","
            while mark == ",":
                text.peek_character()
                line, value = text.line, text.parse_value()
                mark = text.peek_character()
                if mark not in (",", "]"):
                    found = text.preview_text()
                    raise DataError(
                        f"expected ',' or ']', found {found}", file=path, line=text.line
                    )
                text.skip_characters(1)
                yield line, value
        # Nothing but white space may follow the closing bracket.
        if text.peek_character():
            raise DataError(
                f"the array has ended, but {text.preview_text()} follows", file=path, line=text.line
            )


class _TextWindow:
    """The part of a text file that is being parsed, and the line where it starts."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.line = 1
        self._path, self._stream = path, stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._text, self._start, self._lines_read, self._ended = "", 0, 0, False

    def peek_character(self) -> str:
        """Return the next character that is not white space; empty at the end of the file."""
        while True:
            # Skip white space; read more of the file if nothing else is buffered.
            found = _NOT_SPACE.search(self._text, self._start)
            self.skip_characters((found.start() if found else len(self._text)) - self._start)
            if found or self._ended:
                return found.group() if found else ""
            self._read_more()

    def skip_characters(self, count: int) -> None:
        """Move forward by ``count`` characters and count their lines."""
        self.line += self._text.count("\n", self._start, self._start + count)
        self._start += count

    def parse_value(self) -> Any:
        """Parse the JSON value that starts here, reading more of the file until it is complete."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._start)
            except json.JSONDecodeError as error:
                # Before the end of the file, an error may only mean that the value is not complete
                # yet.
                if self._ended:
                    line = self.line + self._text.count("\n", self._start, error.pos)
                    raise DataError(f"not JSON: {error.msg}", file=self._path, line=line) from error
            except (ValueError, RecursionError) as error:
                raise DataError(f"not JSON: {error}", file=self._path, line=self.line) from error
            else:
                # A number at the end of the buffer may continue in the next part.
                if self._ended or self._text[end : end + 1] in _VALUE_ENDINGS:
                    self.skip_characters(end - self._start)
                    return value
            self._read_more()

    def preview_text(self) -> str:
        """Return the next characters for an error message."""
        while len(self._text) < self._start + 20 and not self._ended:
            self._read_more()
        shown = self._text[self._start : self._start + 20]
        return repr(shown) if shown else "nothing"

    def _read_more(self) -> None:
        """Read at least as much again as is buffered, so that a long value takes linear time."""
        rest = self._text[self._start :]
        raw = self._stream.read(max(_READ_BYTES, len(rest)))
        try:
            # Drop the parsed part and append the new one.
            self._text, self._start = rest + self._decode(raw, not raw), 0
        except UnicodeDecodeError as error:
            line = self._lines_read + raw.count(b"\n", 0, error.start) + 1
            raise DataError("not UTF-8 text", file=self._path, line=line) from error
        self._lines_read += raw.count(b"\n")
        self._ended = not raw
