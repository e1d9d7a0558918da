"""Looks through every byte below some folders for somebody's id, texts and numbers.

Files are decoded by what they are: JSON, JSON lines, gzip, zip, SQLite, safetensors, text; formats
that only a holder knows are decoded by it. Whatever else there is, is looked through as bytes.
"""

from __future__ import annotations

import gzip
import html
import json
import os
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from idiolect.privacy.patterns import TENSORS, Needles
from idiolect.storage.files import explain_os_errors

Words = Iterator[tuple[str, str]]
"""Texts of a file, each with the names under which it stands (``people.3.person``)."""
Reader = Callable[[Path], "Words | None"]

WORDS = "words that only they wrote"
_TEXT = frozenset(
    (".txt", ".md", ".html", ".htm", ".csv", ".tsv", ".log", ".toml", ".yaml", ".yml")
)
_LINES = frozenset((".jsonl", ".ndjson"))
_PERSONAL = re.compile(
    r"person|people|user|who|voice|contributor|author|sender|speaker|member|player|account|served",
    re.IGNORECASE,
)
"""Names under which a short id or a plain number is taken for somebody's."""
_LEAST_ID = 3
_ODD_ID = 16
"""An id of so many characters, or with a digit or a sign in it, is no ordinary word."""
_CHUNK = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """Something of somebody in a file."""

    where: Path
    what: str
    """``the id``, ``the id in its name``, ``WORDS`` or ``TENSORS``."""


def scan_tree(
    tops: Sequence[Path],
    person: str,
    needles: Needles,
    *,
    readers: Sequence[Reader] = (),
    others: Collection[Path] = (),
    spared: Collection[Path] = (),
) -> tuple[Hit, ...]:
    """Everything below the folders that still holds the person's id, texts or numbers.

    ``person`` may be empty: then no id is looked for. ``others``: folders in which the id, a plain
    number, is somebody else's. ``spared``: files that are not looked into.
    """
    ids = _Id(person)
    apart = [folder.resolve() for folder in others]
    passed = {path.resolve() for path in spared}
    out: list[Hit] = []
    for top, path in _files(tops):
        if path.resolve() in passed:
            continue
        elsewhere = any(path.resolve().is_relative_to(folder) for folder in apart)
        told = _Id("") if elsewhere else ids
        if told.in_prose(" ".join(path.relative_to(top).parts)):
            out.append(Hit(where=path, what="the id in its name"))
        out += [Hit(where=path, what=what) for what in _scan_file(path, told, needles, readers)]
    return tuple(out)


def scan_file(path: Path, person: str, needles: Needles) -> list[str]:
    """What of somebody stands in one file, as in a ``Hit``."""
    return _scan_file(path, _Id(person), needles, ())


def _files(tops: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Every file once, hidden ones too, with the folder it was found below."""
    seen: set[Path] = set()
    for top in tops:
        for place, below, names in os.walk(top):
            below.sort()
            for name in sorted(names):
                path = Path(place, name)
                if path.is_file() and path.resolve() not in seen:
                    seen.add(path.resolve())
                    yield top, path


def _scan_file(path: Path, ids: _Id, needles: Needles, readers: Sequence[Reader]) -> list[str]:
    found: set[str] = set()
    named = False
    with explain_os_errors("read", path):
        for raw in _chunks(path, needles.longest):
            found |= needles.in_bytes(raw)
            named = named or ids.in_bytes(raw)
        for inner, words in _decoded(path, readers):
            texts: list[str] = []
            for keys, text in words:
                texts.append(text)
                named = named or (ids.in_value(keys, text) if inner else ids.in_prose(text))
            found.update(needles.in_texts(texts))
    out = ["the id"] if named else []
    out += [WORDS] if found - {TENSORS} else []
    return out + ([TENSORS] if TENSORS in found else [])


def _chunks(path: Path, longest: int) -> Iterator[bytes]:
    """The file in parts that overlap by what is looked for."""
    with path.open("rb") as stream:
        before = b""
        while part := stream.read(_CHUNK):
            yield before + part
            before = part[-longest:] if longest else b""


def _decoded(path: Path, readers: Sequence[Reader]) -> Iterator[tuple[bool, Words]]:
    """The texts of a file, and whether they stand in a structure (prose does not)."""
    for reader in readers:
        words = reader(path)
        if words is not None:
            yield True, words
            return
    with path.open("rb") as stream:
        start = stream.read(16)
    if start == b"SQLite format 3\x00":
        yield True, _sqlite(path)
    elif start[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield _read(name, archive.read(name))
    elif start[:2] == b"\x1f\x8b":
        yield _read(path.name.removesuffix(".gz"), _unzipped(path))
    elif path.suffix == ".safetensors" or path.suffix == ".bin":
        yield True, _header(path)
    elif path.suffix in (".json", *_LINES, *_TEXT):
        yield _read(path.name, path.read_bytes())


def _unzipped(path: Path) -> bytes:
    try:
        with gzip.open(path) as stream:
            return stream.read()
    except (OSError, EOFError, zlib.error):
        return b""  # cut off: what there is was looked through as bytes


def _read(name: str, raw: bytes) -> tuple[bool, Words]:
    """The texts of a file's content, by its name."""
    path = Path(name)
    text = _text(raw)
    try:
        if path.suffix == ".json":
            return True, _walk(json.loads(text), path.stem)
        if path.suffix in _LINES:
            lines = [line for line in text.splitlines() if line.strip()]
            loaded = [json.loads(line) for line in lines]
            return True, (pair for one in loaded for pair in _walk(one, path.stem))
    except (ValueError, RecursionError):
        pass
    return False, iter([(path.stem, html.unescape(text))])


def _text(raw: bytes) -> str:
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    return raw.decode("utf-16" if wide else "utf-8", errors="replace")


def _walk(value: Any, keys: str) -> Words:
    """Every text in plain data, names of objects included."""
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, dict):
        for name, below in cast("dict[str, Any]", value).items():
            yield keys, name
            yield from _walk(below, f"{keys}.{name}")
    elif isinstance(value, list):
        for below in cast("list[Any]", value):
            yield from _walk(below, keys)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield keys, str(value)


def _sqlite(path: Path) -> Words:
    """Every cell of every table."""
    place = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(place, uri=True)) as db:
        named = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        tables = [str(name) for (name,) in named]
        db.text_factory = bytes  # a column may hold what is no UTF-8
        for table in tables:
            rows = db.execute(f'SELECT * FROM "{table}"')
            columns = [f"{table}.{column[0]}" for column in rows.description]
            for row in rows:
                for keys, value in zip(columns, row, strict=True):
                    if isinstance(value, int):
                        yield keys, str(value)
                    elif isinstance(value, bytes):
                        yield keys, value.decode("utf-8", errors="replace")


def _header(path: Path) -> Words:
    """What the header of a safetensors file says, also behind a checkpoint's checksum."""
    for start in (0, 32):
        with path.open("rb") as stream:
            stream.seek(start)
            size = int.from_bytes(stream.read(8), "little")
            if not 0 < size < path.stat().st_size:
                continue
            try:
                content = json.loads(stream.read(size))
            except ValueError:
                continue
        yield from _walk(content, path.stem)
        for text in cast("dict[str, Any]", content).get("__metadata__", {}).values():
            try:
                yield from _walk(json.loads(text), "metadata")
            except (ValueError, TypeError):
                continue


class _Id:
    """How an id is recognised: the shorter it is, the surer its place must be."""

    def __init__(self, person: str) -> None:
        self.person = person
        self._plain = person.isdigit() or len(person) < _LEAST_ID
        self._odd = not self._plain and (len(person) >= _ODD_ID or not person.isalpha())
        self._token = re.compile(rf"(?<!\w){re.escape(person)}(?!\w)")
        self._raw = re.compile(rb"(?<![\w])" + re.escape(person.encode()) + rb"(?![\w])")

    def in_value(self, keys: str, text: str) -> bool:
        """In data: as a whole value under a name that is about people, or anywhere where the id is
        no plain number; within a longer text only where it is no ordinary word."""
        if not self.person:
            return False
        if text == self.person:
            return not self._plain or bool(_PERSONAL.search(keys))
        return self._odd and bool(self._token.search(text))

    def in_prose(self, text: str) -> bool:
        """In free text: as a word of its own."""
        return bool(self.person) and not self._plain and bool(self._token.search(text))

    def in_bytes(self, raw: bytes) -> bool:
        """In bytes that nothing decodes: only what is no ordinary word."""
        return bool(self.person) and self._odd and bool(self._raw.search(raw))
