"""Searches every file below some folders for a person's id, texts and adapter weights.

Files are decoded by format: JSON, JSON lines, gzip, zip, SQLite, safetensors, text. Formats that
only one package knows are decoded by that package's reader. Every file is also searched as bytes.
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

LabeledTexts = Iterator[tuple[str, str]]
"""Texts of a file, each with the keys that lead to it (``people.3.person``)."""
TextReader = Callable[[Path], "LabeledTexts | None"]

WORDS_FOUND = "words that only they wrote"
_TEXT_SUFFIXES = frozenset(
    (".txt", ".md", ".html", ".htm", ".csv", ".tsv", ".log", ".toml", ".yaml", ".yml")
)
_JSONL_SUFFIXES = frozenset((".jsonl", ".ndjson"))
_PERSON_KEYS = re.compile(
    r"person|people|user|who|voice|contributor|author|sender|speaker|member|player|account|served",
    re.IGNORECASE,
)
"""Keys under which a short or numeric value is considered a person's id."""
_MIN_ID_CHARS = 3
_DISTINCTIVE_ID_CHARS = 16
"""An id of this length, or one with a digit or sign, is not mistaken for an ordinary word."""
_CHUNK_BYTES = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanHit:
    """One trace of a person in a file."""

    where: Path
    what: str
    """``the id``, ``the id in its name``, ``WORDS_FOUND`` or ``TENSORS_FOUND``."""


def scan_tree(
    roots: Sequence[Path],
    person: str,
    patterns: SearchPatterns,
    *,
    readers: Sequence[TextReader] = (),
    foreign_folders: Collection[Path] = (),
    excluded: Collection[Path] = (),
) -> tuple[ScanHit, ...]:
    """Find everything below the folders that still contains the person's id, texts or weights.

    If ``person`` is empty, no id is searched for. ``readers`` decode additional formats. In
    ``foreign_folders``, the (numeric) id belongs to another person and is not searched for. Files
    in ``excluded`` are skipped.
    """
    ids = _PersonId(person)
    # Compare resolved paths, since roots may be relative or contain links.
    foreign = [folder.resolve() for folder in foreign_folders]
    skipped = {path.resolve() for path in excluded}
    out: list[ScanHit] = []
    # Search the path below the root first, then the content.
    for root, path in _iter_files(roots):
        if path.resolve() in skipped:
            continue
        is_foreign = any(path.resolve().is_relative_to(folder) for folder in foreign)
        searched_id = _PersonId("") if is_foreign else ids
        if searched_id.matches_prose(" ".join(path.relative_to(root).parts)):
            out.append(ScanHit(where=path, what="the id in its name"))
        out += [
            ScanHit(where=path, what=what)
            for what in _scan_file(path, searched_id, patterns, readers)
        ]
    return tuple(out)


def scan_file(path: Path, person: str, patterns: SearchPatterns) -> list[str]:
    """Return what one file contains of a person, in the words of ``ScanHit.what``."""
    return _scan_file(path, _PersonId(person), patterns, ())


def _iter_files(roots: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    """Yield every file once, hidden files included, with the root folder it was found below."""
    seen: set[Path] = set()
    for root in roots:
        for folder, subfolders, names in os.walk(root):
            subfolders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                # Skips sockets and pipes, and files that two roots or links lead to.
                if path.is_file() and path.resolve() not in seen:
                    seen.add(path.resolve())
                    yield root, path


def _scan_file(
    path: Path, ids: _PersonId, patterns: SearchPatterns, readers: Sequence[TextReader]
) -> list[str]:
    """Search one file, first as raw bytes and then decoded."""
    found: set[str] = set()
    found_id = False
    with explain_os_errors("read", path):
        # Raw bytes: covers unknown formats and damaged files.
        for raw in _read_chunks(path, patterns.max_pattern_bytes):
            found |= patterns.find_in_bytes(raw)
            found_id = found_id or ids.matches_bytes(raw)
        # Decoded content: finds texts that are compressed or escaped, and ids under known keys.
        for is_structured, words in _decode_file(path, readers):
            texts: list[str] = []
            for keys, text in words:
                texts.append(text)
                found_id = found_id or (
                    ids.matches_value(keys, text) if is_structured else ids.matches_prose(text)
                )
            found.update(patterns.find_in_texts(texts))
    out = ["the id"] if found_id else []
    out += [WORDS_FOUND] if found - {TENSORS_FOUND} else []
    return out + ([TENSORS_FOUND] if TENSORS_FOUND in found else [])


def _read_chunks(path: Path, overlap: int) -> Iterator[bytes]:
    """Yield the file in chunks that overlap by ``overlap`` bytes, so that no match is cut."""
    with path.open("rb") as stream:
        before = b""
        while part := stream.read(_CHUNK_BYTES):
            yield before + part
            before = part[-overlap:] if overlap else b""


def _decode_file(path: Path, readers: Sequence[TextReader]) -> Iterator[tuple[bool, LabeledTexts]]:
    """Yield the texts of a file, each with whether it is structured data (True) or prose
    (False)."""
    # A package's own reader takes precedence over the file's signature.
    for reader in readers:
        words = reader(path)
        if words is not None:
            yield True, words
            return
    with path.open("rb") as stream:
        start = stream.read(16)
    # Containers are recognized by their first bytes, other formats by the file name.
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
    """Return the decompressed content; empty if the file is truncated."""
    try:
        with gzip.open(path) as stream:
            return stream.read()
    except (OSError, EOFError, zlib.error):
        return b""  # truncated: its bytes were searched already


def _parse_content(name: str, raw: bytes) -> tuple[bool, LabeledTexts]:
    """Return whether the content is structured, and its texts; the file name gives the format."""
    path = Path(name)
    text = _decode_text(raw)
    try:
        if path.suffix == ".json":
            return True, _walk_json(json.loads(text), path.stem)
        if path.suffix in _JSONL_SUFFIXES:
            # Parse all lines first: one invalid line makes the file prose.
            lines = [line for line in text.splitlines() if line.strip()]
            loaded = [json.loads(line) for line in lines]
            return True, (pair for one in loaded for pair in _walk_json(one, path.stem))
    except (ValueError, RecursionError):
        pass
    return False, iter([(path.stem, html.unescape(text))])


def _decode_text(raw: bytes) -> str:
    """Decode UTF-16 with a byte order mark, otherwise UTF-8; replaces invalid bytes."""
    wide = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    return raw.decode("utf-16" if wide else "utf-8", errors="replace")


def _walk_json(value: Any, keys: str) -> LabeledTexts:
    """Yield every text and whole number in plain data, keys of objects included."""
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


def _read_sqlite(path: Path) -> LabeledTexts:
    """Yield every cell of every table."""
    # Read-only and immutable: the scan must not create lock or journal files.
    place = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
    with closing(sqlite3.connect(place, uri=True)) as db:
        named = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        # Listed first, because the text factory changes the type of names, too.
        tables = [str(name) for (name,) in named]
        db.text_factory = bytes  # a text column may contain invalid UTF-8
        for table in tables:
            rows = db.execute(f'SELECT * FROM "{table}"')
            columns = [f"{table}.{column[0]}" for column in rows.description]
            for row in rows:
                for keys, value in zip(columns, row, strict=True):
                    # With text_factory set to bytes, both text and blobs arrive as bytes.
                    if isinstance(value, int):
                        yield keys, str(value)
                    elif isinstance(value, bytes):
                        yield keys, value.decode("utf-8", errors="replace")


def _read_tensor_header(path: Path) -> LabeledTexts:
    """Yield the texts in the header of a safetensors file, or of a checkpoint.

    A checkpoint has a 32-byte checksum before the safetensors header.
    """
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
        # Metadata values are JSON as text.
        for text in cast("dict[str, Any]", content).get("__metadata__", {}).values():
            try:
                yield from _walk_json(json.loads(text), "metadata")
            except (ValueError, TypeError):
                continue


class _PersonId:
    """Matches a person's id. The less distinctive the id, the more context a match needs."""

    def __init__(self, person: str) -> None:
        self.person = person
        # A number or a one- or two-letter id occurs everywhere.
        self._is_ambiguous = person.isdigit() or len(person) < _MIN_ID_CHARS
        self._is_distinctive = not self._is_ambiguous and (
            len(person) >= _DISTINCTIVE_ID_CHARS or not person.isalpha()
        )
        self._text_pattern = re.compile(rf"(?<!\w){re.escape(person)}(?!\w)")
        self._bytes_pattern = re.compile(rb"(?<![\w])" + re.escape(person.encode()) + rb"(?![\w])")

    def matches_value(self, keys: str, text: str) -> bool:
        """Whether a value in structured data is or contains the id.

        A whole value matches under a key about people, or anywhere if the id is not ambiguous.
        Inside a longer text, only a distinctive id matches.
        """
        if not self.person:
            return False
        if text == self.person:
            return not self._is_ambiguous or bool(_PERSON_KEYS.search(keys))
        return self._is_distinctive and bool(self._text_pattern.search(text))

    def matches_prose(self, text: str) -> bool:
        """Whether free text contains the id as a separate word; never for an ambiguous id."""
        return (
            bool(self.person) and not self._is_ambiguous and bool(self._text_pattern.search(text))
        )

    def matches_bytes(self, raw: bytes) -> bool:
        """Whether undecoded bytes contain the id; only for a distinctive id."""
        return bool(self.person) and self._is_distinctive and bool(self._bytes_pattern.search(raw))
