"""Reads a JSON array of any size one element at a time, knowing the line of each."""

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
_AFTER_VALUE = tuple(" \t\r\n,]")
"""A value ends before these; before anything else a number may go on in the next part."""
_PART = 1 << 20
"""Bytes that are read at least at a time."""


def iterate_array(path: Path) -> Iterator[tuple[int, Any]]:
    """The elements of a file that is one JSON array, each with its first line, one at a time.

    The file (the largest released one has 2.8 GB) is never in memory as a whole. Raises DataError
    with the line for anything but an array of JSON values.
    """
    with explain_os_errors("read", path), path.open("rb") as stream:
        text = _Window(path, stream)
        if text.next_character() != "[":
            raise DataError(
                f"expected a JSON array, found {text.shown()}", file=path, line=text.line
            )
        text.drop(1)
        if text.next_character() == "]":
            text.drop(1)
        else:
            mark = ","
            while mark == ",":
                text.next_character()
                line, value = text.line, text.value()
                mark = text.next_character()
                if mark not in (",", "]"):
                    found = text.shown()
                    raise DataError(
                        f"expected ',' or ']', found {found}", file=path, line=text.line
                    )
                text.drop(1)
                yield line, value
        if text.next_character():
            raise DataError(
                f"the array has ended, but {text.shown()} follows", file=path, line=text.line
            )


class _Window:
    """The part of a text file that is being parsed, and the line it starts in."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.line = 1
        self._path, self._stream = path, stream
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._text, self._start, self._lines_read, self._ended = "", 0, 0, False

    def next_character(self) -> str:
        """The next character that is no white space; empty at the end of the file."""
        while True:
            found = _NOT_SPACE.search(self._text, self._start)
            self.drop((found.start() if found else len(self._text)) - self._start)
            if found or self._ended:
                return found.group() if found else ""
            self._more()

    def drop(self, count: int) -> None:
        """Go on by ``count`` characters."""
        self.line += self._text.count("\n", self._start, self._start + count)
        self._start += count

    def value(self) -> Any:
        """The JSON value that starts here."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._start)
            except json.JSONDecodeError as error:
                if self._ended:
                    line = self.line + self._text.count("\n", self._start, error.pos)
                    raise DataError(f"not JSON: {error.msg}", file=self._path, line=line) from error
            except (ValueError, RecursionError) as error:
                raise DataError(f"not JSON: {error}", file=self._path, line=self.line) from error
            else:
                if self._ended or self._text[end : end + 1] in _AFTER_VALUE:
                    self.drop(end - self._start)
                    return value
            self._more()

    def shown(self) -> str:
        """The next characters, for a message."""
        while len(self._text) < self._start + 20 and not self._ended:
            self._more()
        shown = self._text[self._start : self._start + 20]
        return repr(shown) if shown else "nothing"

    def _more(self) -> None:
        """Read on; each time as much again as there is, so that a long value costs little."""
        rest = self._text[self._start :]
        raw = self._stream.read(max(_PART, len(rest)))
        try:
            self._text, self._start = rest + self._decode(raw, not raw), 0
        except UnicodeDecodeError as error:
            line = self._lines_read + raw.count(b"\n", 0, error.start) + 1
            raise DataError("not UTF-8 text", file=self._path, line=line) from error
        self._lines_read += raw.count(b"\n")
        self._ended = not raw
