"""Searches one file for a person's id, texts and adapter weights, with everything in it.

A file is searched as bytes, with escapes and encodings undone; structured files also by value;
archives and compressed files by what is in them.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from idiolect.privacy.search.containers import (
    HEAD_BYTES,
    MAX_DEPTH,
    ExpansionBudget,
    LimitError,
    MemberStream,
    describe_opaque,
    is_embedded_file,
    iter_members,
    recognize_container,
)
from idiolect.privacy.search.encodings import (
    OVERLAP_BYTES,
    decode_wide,
    iter_encoded_blocks,
    iter_plain_forms,
)
from idiolect.privacy.search.patterns import TENSORS_FOUND, SearchPatterns, decode_utf8
from idiolect.privacy.search.person_id import PersonId
from idiolect.privacy.search.readers import (
    LabeledValues,
    read_json,
    read_json_lines,
    recognize_structure,
)

LabeledTexts = Iterator[tuple[str, str]]
"""Texts of a file, each with the keys that lead to it (``people.3.person``)."""
TextReader = Callable[[Path], "LabeledTexts | None"]

ID_FOUND, ID_IN_NAME = "the id", "the id in its name"
WORDS_FOUND = "words that only they wrote"
WORDS_IN_NAME = "words that only they wrote in its name"
SHORT_FOUND = "a short text that only they wrote"
_ORDER = (ID_IN_NAME, WORDS_IN_NAME, ID_FOUND, WORDS_FOUND, SHORT_FOUND, TENSORS_FOUND)
_CHUNK_BYTES = 1 << 23
_SPOOL_BYTES = 1 << 25
"""Above this size, what is in an archive is kept in a file without a name instead of memory."""
_BATCH_CHARS = 1 << 20
_ENCODED_LEVELS = 2
"""Encoded blocks in encoded blocks are decoded to this depth."""
_MAX_LISTED = 200
"""Members of one file that are listed as not searched."""
_CONTROL = bytes(n for n in range(1, 32) if n not in b"\t\n\r\f\x1b")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanHit:
    """One trace of a person in a file."""

    where: Path
    what: str
    """``ID_FOUND``, ``ID_IN_NAME``, ``WORDS_FOUND``, ``WORDS_IN_NAME``, ``SHORT_FOUND`` or
    ``TENSORS_FOUND``."""
    inside: str = ""
    """For an archive, the names that lead to the member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsearchedFile:
    """Something that the search did not look into, or not completely."""

    where: Path
    why: str
    inside: str = ""


@dataclass(kw_only=True)
class FileSearch:
    """The search of one file, with everything in it."""

    ids: PersonId
    patterns: SearchPatterns
    readers: Sequence[TextReader]
    found: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """What was found, with the member of the archive."""
    unsearched: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Members that were not searched, and why."""
    budget: ExpansionBudget = field(default_factory=lambda: ExpansionBudget(file_bytes=0))

    def list_hits(self, path: Path) -> list[ScanHit]:
        """Return what was found, for a file with this name."""
        ordered = sorted(self.found, key=lambda one: (one[0], _ORDER.index(one[1])))
        return [ScanHit(where=path, what=what, inside=inside) for inside, what in ordered]

    def list_unsearched(self, path: Path) -> list[UnsearchedFile]:
        """Return what was not searched, for a file with this name."""
        listed = self.unsearched[:_MAX_LISTED]
        if more := len(self.unsearched) - len(listed):
            listed.append(("", f"{more:,} more members were not looked into"))
        return [UnsearchedFile(where=path, why=why, inside=inside) for inside, why in listed]

    def search_name(self, name: str, inside: str = "") -> None:
        """Search the name of a file."""
        if any(self.ids.matches_prose(form) for form in (name, name.replace("_", " "))):
            self.found.add((inside, ID_IN_NAME))
        raw = name.encode("utf-8", errors="surrogateescape")
        if any(self.patterns.find_in_bytes(form) for form in iter_plain_forms(raw)):
            self.found.add((inside, WORDS_IN_NAME))

    def search_path(self, path: Path) -> None:
        """Search a file on disk. Whatever goes wrong is noted as a reason."""
        try:
            for reader in self.readers:
                # A package's own reader takes precedence over the file's signature.
                if (texts := reader(path)) is not None:
                    self._search_values(texts, "", 0, has_words=True)
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                self.budget = ExpansionBudget(file_bytes=size)
                self._search_file(file, path.name, "", 0)
        # The libraries for foreign formats raise errors of every class on damaged files.
        except Exception as error:
            self._note_unsearched("", explain_error(error))

    def _note_unsearched(self, inside: str, why: str) -> None:
        if (inside, why) not in self.unsearched[-_MAX_LISTED:]:
            self.unsearched.append((inside, why))

    def _search_file(self, file: BinaryIO, name: str, inside: str, depth: int) -> None:
        """Search a file that can seek: its values, its bytes, and what it contains."""
        file.seek(0)
        head = file.read(HEAD_BYTES)
        is_structured = self._search_structure(file, head, name, inside, depth)
        file.seek(0)
        self._search_chunks(file, inside, depth, is_prose=not is_structured)
        if opaque := describe_opaque(head, name):
            self._note_unsearched(inside, f"{opaque}: searched as bytes only")
        kind = recognize_container(head, name)
        # An archive can have anything before it, e.g. a program that extracts it.
        if not kind and not is_structured and _ends_like_zip(file):
            kind = "zip"
        if kind:
            file.seek(0)
            self._search_members(kind, file, name, inside, depth)

    def _search_structure(
        self, file: BinaryIO, head: bytes, name: str, inside: str, depth: int
    ) -> bool:
        """Search a structured file by value; returns whether it is one."""
        reader = recognize_structure(head, name)
        if reader is None:
            return False
        is_json = reader in (read_json, read_json_lines)
        file.seek(0)
        try:
            # The words of JSON are found in its bytes, and need no second search.
            self._search_values(reader(file, name), inside, depth, has_words=not is_json)
        except Exception as error:
            if is_json and isinstance(error, (json.JSONDecodeError, UnicodeError)):
                return False  # a text, whatever its name says
            self._note_unsearched(inside, explain_error(error))
        return True

    def _search_values(
        self, values: LabeledValues, inside: str, depth: int, *, has_words: bool
    ) -> None:
        """Search values for the id and short texts; with ``has_words``, also for words."""
        texts: list[bytes] = []
        size = 0
        for keys, value in values:
            if isinstance(value, bytes):
                text = value.decode("utf-8", errors="replace")
                self._search_block(value, inside, depth + 1)
            else:
                text = value
            if self.ids.matches_value(keys, text):
                self.found.add((inside, ID_FOUND))
            if self.patterns.matches_value(text):
                self.found.add((inside, SHORT_FOUND))
            if has_words:
                raw = value if isinstance(value, bytes) else value.encode(errors="replace")
                texts.append(raw)
                size += len(raw)
                if size > _BATCH_CHARS:
                    self._search_bytes(b"\n".join(texts), inside, depth, is_prose=False)
                    texts, size = [], 0
        self._search_bytes(b"\n".join(texts), inside, depth, is_prose=False)

    def _search_chunks(
        self,
        file: BinaryIO | MemberStream,
        inside: str,
        depth: int,
        *,
        is_prose: bool,
        first: bytes = b"",
    ) -> None:
        """Search a stream in chunks that overlap, so that no match is cut. ``first`` was read
        already."""
        before = b""
        while part := first or file.read(_CHUNK_BYTES):
            first = b""
            self._search_bytes(before + part, inside, depth, is_prose=is_prose)
            before = part[-OVERLAP_BYTES:]

    def _search_bytes(
        self, raw: bytes, inside: str, depth: int, *, is_prose: bool, levels: int = _ENCODED_LEVELS
    ) -> None:
        """Search bytes as they are, with escapes undone, and with encoded blocks decoded; blocks
        in blocks to some ``levels``."""
        is_binary = _is_binary(raw)
        is_prose = is_prose and not is_binary
        forms = [raw] if is_binary else [*iter_plain_forms(raw)]
        for form in forms:
            found = self.patterns.find_in_bytes(form)
            if TENSORS_FOUND in found:
                self.found.add((inside, TENSORS_FOUND))
            if found - {TENSORS_FOUND}:
                self.found.add((inside, WORDS_FOUND))
            if self.ids.matches_bytes(form, is_prose=is_prose):
                self.found.add((inside, ID_FOUND))
            if is_prose and self.patterns.has_short:
                text = decode_utf8(form) or ""
                if self.patterns.find_short_values(text):
                    self.found.add((inside, SHORT_FOUND))
        if not levels:
            return
        # Blocks are joined by guess, because one search of many is faster than many searches.
        guesses: dict[int, list[bytes]] = {}
        for block in (
            block for form in {forms[0], forms[-1]} for block in iter_encoded_blocks(form)
        ):
            for shift, guess in enumerate(block):
                guesses.setdefault(shift, []).append(guess)
            self._search_block(block[0], inside, depth + 1)
        for parts in guesses.values():
            joined = b"\n".join(parts)
            self._search_bytes(joined, inside, depth, is_prose=False, levels=levels - 1)

    def _search_block(self, raw: bytes, inside: str, depth: int) -> None:
        """Search a value that is a file of its own, if it is one: an attachment, a compressed
        cell."""
        if not is_embedded_file(raw[:HEAD_BYTES]):
            return
        if depth >= MAX_DEPTH:
            self._note_unsearched(inside, f"archives in archives, more than {MAX_DEPTH} deep")
            return
        with _open_spool() as file:
            file.write(raw)
            self._search_file(file, "value", inside, depth)

    def _search_members(
        self, kind: str, file: BinaryIO, name: str, inside: str, depth: int
    ) -> None:
        """Search what an archive or a compressed file contains."""
        if depth >= MAX_DEPTH:
            self._note_unsearched(inside, f"archives in archives, more than {MAX_DEPTH} deep")
            return
        try:
            for member in iter_members(kind, file, name, self.budget):
                within = f"{inside}/{member.name}" if inside else member.name
                if kind in ("zip", "tar"):
                    self.search_name(member.name, within)
                if member.stream is None:
                    self._note_unsearched(within, member.why)
                    continue
                try:
                    self._search_member(member.stream, member.name, within, depth + 1)
                except Exception as error:
                    # A damaged member of a ZIP does not hide the next ones.
                    if kind != "zip" or isinstance(error, LimitError):
                        raise
                    self._note_unsearched(within, explain_error(error))
        except Exception as error:
            if kind == "zlib" and not isinstance(error, LimitError):
                return  # two bytes are a weak sign: it is something else
            self._note_unsearched(inside, f"{explain_error(error)} ({kind})")

    def _search_member(self, stream: MemberStream, name: str, inside: str, depth: int) -> None:
        """Search a stream: as it comes if it is plain, otherwise from a copy that can seek."""
        error: Exception | None = None
        first = stream.read(_CHUNK_BYTES)
        head = first[:HEAD_BYTES]
        is_plain = not (recognize_container(head, name) or recognize_structure(head, name))
        if len(first) == _CHUNK_BYTES and is_plain and not describe_opaque(head, name):
            self._search_chunks(stream, inside, depth, is_prose=True, first=first)
            return
        with _open_spool() as copy:
            try:
                while first:
                    copy.write(first)
                    first = stream.read(_CHUNK_BYTES)
            except Exception as caught:
                error = caught
            # What came before an error is searched, too.
            self._search_file(copy, name, inside, depth)
        if error is not None:
            raise error


def _open_spool() -> BinaryIO:
    """Return a file without a name, in memory while it is small."""
    return cast("BinaryIO", tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES))


def _ends_like_zip(file: BinaryIO) -> bool:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 22))
    return file.read(4) == b"PK\x05\x06"


def _is_binary(raw: bytes) -> bool:
    """Whether bytes are numbers or compressed rather than text in any encoding."""
    sample = raw[:4096] + raw[len(raw) // 2 :][:4096]
    shown = len(sample) - sample.count(0)
    control = len(sample) - len(sample.translate(None, _CONTROL))
    return control > 0.05 * shown and not decode_wide(raw[:4096])


def explain_error(error: Exception) -> str:
    """Return one line about an error, whatever its class."""
    text = re.sub(r"\s+", " ", str(error)).strip()[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
