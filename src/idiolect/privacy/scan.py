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

from idiolect.privacy.patterns import TENSORS_FOUND, SearchPatterns
from idiolect.storage.files import explain_os_errors

LabelledTexts = Iterator[tuple[str, str]]
"""Texts of a file, each with the names under which it stands (``people.3.person``)."""
TextReader = Callable[[Path], "LabelledTexts | None"]

WORDS_FOUND = "words that only they wrote"
_TEXT_SUFFIXES = frozenset(
    (".txt", ".md", ".html", ".htm", ".csv", ".tsv", ".log", ".toml", ".yaml", ".yml")
)
_JSONL_SUFFIXES = frozenset((".jsonl", ".ndjson"))
_PERSON_KEYS = re.compile(
    r"person|people|user|who|voice|contributor|author|sender|speaker|member|player|account|served",
    re.IGNORECASE,
)
"""Names under which a short id or a plain number is taken for somebody's."""
_MIN_ID_CHARS = 3
_DISTINCTIVE_ID_CHARS = 16
"""An id of so many characters, or with a digit or a sign in it, is no ordinary word."""
_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanHit:
    """Something of somebody in a file."""

    where: Path
    what: str
    """``the id``, ``the id in its name``, ``WORDS`` or ``TENSORS``."""


def scan_tree(
    tops: Sequence[Path],
    person: str,
    needles: SearchPatterns,
    *,
    readers: Sequence[TextReader] = (),
    others: Collection[Path] = (),
    spared: Collection[Path] = (),
) -> tuple[ScanHit, ...]:
    """Everything below the folders that still holds the person's id, texts or numbers.

    ``person`` may be empty: then no id is looked for. ``others``: folders in which the id, a plain
    number, is somebody else's. ``spared``: files that are not looked into.
    """
    ids = _PersonId(person)
    apart = [folder.resolve() for folder in others]
    passed = {path.resolve() for path in spared}
    out: list[ScanHit] = []
    for top, path in _iter_files(tops):
        if path.resolve() in passed:
            continue
        elsewhere = any(path.resolve().is_relative_to(folder) for folder in apart)
        told = _PersonId("") if elsewhere else ids
        if told.matches_prose(" ".join(path.relative_to(top).parts)):
            out.append(ScanHit(where=path, what="the id in its name"))
        out += [ScanHit(where=path, what=what) for what in _scan_file(path, told, needles, readers)]
    return tuple(out)


def scan_file(path: Path, person: str, needles: SearchPatterns) -> list[str]:
    """What of somebody stands in one file, as in a ``Hit``."""
    return _scan_file(path, _PersonId(person), needles, ())


def _iter_files(tops: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
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


def _scan_file(
    path: Path, ids: _PersonId, needles: SearchPatterns, readers: Sequence[TextReader]
) -> list[str]:
    found: set[str] = set()
    named = False
    with explain_os_errors("read", path):
        for raw in _read_chunks(path, needles.max_pattern_bytes):
            found |= needles.find_in_bytes(raw)
            named = named or ids.matches_bytes(raw)
        for inner, words in _decode_file(path, readers):
            texts: list[str] = []
            for keys, text in words:
                texts.append(text)
                named = named or (
                    ids.matches_value(keys, text) if inner else ids.matches_prose(text)
                )
            found.update(needles.find_in_texts(texts))
    out = ["the id"] if named else []
    out += [WORDS_FOUND] if found - {TENSORS_FOUND} else []
    return out + ([TENSORS_FOUND] if TENSORS_FOUND in found else [])


def _read_chunks(path: Path, longest: int) -> Iterator[bytes]:
    """The file in parts that overlap by what is looked for."""
    with path.open("rb") as stream:
        before = b""
        while part := stream.read(_CHUNK_BYTES):
            yield before + part
            before = part[-longest:] if longest else b""


def _decode_file(path: Path, readers: Sequence[TextReader]) -> Iterator[tuple[bool, LabelledTexts]]:
    """The texts of a file, and whether they stand in a structure (prose does not)."""
    for reader in readers:
        words = reader(path)
        if words is not None:
            yield True, words
            return
    with path.open("rb") as stream:
        start = stream.read(16)
    if start == b"SQLite format 3\x00":
        yield True, _read_sqlite(path)
    elif start[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield _parse_content(name, archive.read(name))
    elif start[:2] == b"\x1f\x8b":
        yield _parse_content(path.name.removesuffix(".gz"), _read_gzip(path))
    elif path.suffix == ".safetensors" or path.suffix == ".bin":
        yield True, _read_tensor_header(path)
    elif path.suffix in (".json", *_JSONL_SUFFIXES, *_TEXT_SUFFIXES):
        yield _parse_content(path.name, path.read_bytes())


def _read_gzip(path: Path) -> bytes:
    try:
        with gzip.open(path) as stream:
            return stream.read()
    except (OSError, EOFError, zlib.error):
        return b""  # cut off: what there is was looked through as bytes


def _parse_content(name: str, raw: bytes) -> tuple[bool, LabelledTexts]:
    """The texts of a file's content, by its name."""
    path = Path(name)
    text = _decode_text(raw)
    try:
        if path.suffix == ".json":
            return True, _walk_json(json.loads(text), path.stem)
        if path.suffix in _JSONL_SUFFIXES:
            lines = [line for line in text.splitlines() if line.strip()]
            loaded = [json.loads(line) for line in lines]
            return True, (pair for one in loaded for pair in _walk_json(one, path.stem))
    except (ValueError, RecursionError):
        pass
    return False, iter([(path.stem, html.unescape(text))])


def _decode_text(raw: bytes) -> str:
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    return raw.decode("utf-16" if wide else "utf-8", errors="replace")


def _walk_json(value: Any, keys: str) -> LabelledTexts:
    """Every text in plain data, names of objects included."""
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, dict):
        for name, below in cast("dict[str, Any]", value).items():
            yield keys, name
            yield from _walk_json(below, f"{keys}.{name}")
    elif isinstance(value, list):
        for below in cast("list[Any]", value):
            yield from _walk_json(below, keys)
    elif isinstance(value, int) and not isinstance(value, bool):
        yield keys, str(value)


def _read_sqlite(path: Path) -> LabelledTexts:
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


def _read_tensor_header(path: Path) -> LabelledTexts:
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
        yield from _walk_json(content, path.stem)
        for text in cast("dict[str, Any]", content).get("__metadata__", {}).values():
            try:
                yield from _walk_json(json.loads(text), "metadata")
            except (ValueError, TypeError):
                continue


class _PersonId:
    """How an id is recognised: the shorter it is, the surer its place must be."""

    def __init__(self, person: str) -> None:
        self.person = person
        self._is_ambiguous = person.isdigit() or len(person) < _MIN_ID_CHARS
        self._is_distinctive = not self._is_ambiguous and (
            len(person) >= _DISTINCTIVE_ID_CHARS or not person.isalpha()
        )
        self._text_pattern = re.compile(rf"(?<!\w){re.escape(person)}(?!\w)")
        self._bytes_pattern = re.compile(rb"(?<![\w])" + re.escape(person.encode()) + rb"(?![\w])")

    def matches_value(self, keys: str, text: str) -> bool:
        """In data: as a whole value under a name that is about people, or anywhere where the id is
        no plain number; within a longer text only where it is no ordinary word."""
        if not self.person:
            return False
        if text == self.person:
            return not self._is_ambiguous or bool(_PERSON_KEYS.search(keys))
        return self._is_distinctive and bool(self._text_pattern.search(text))

    def matches_prose(self, text: str) -> bool:
        """In free text: as a word of its own."""
        return (
            bool(self.person) and not self._is_ambiguous and bool(self._text_pattern.search(text))
        )

    def matches_bytes(self, raw: bytes) -> bool:
        """In bytes that nothing decodes: only what is no ordinary word."""
        return bool(self.person) and self._is_distinctive and bool(self._bytes_pattern.search(raw))
