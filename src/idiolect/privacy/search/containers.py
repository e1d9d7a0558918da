"""Opens archives and compressed files as streams, with limits on size, ratio and depth.

What cannot be opened is reported with a reason, and nothing is extracted to a named file.
"""

from __future__ import annotations

import bz2
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, BinaryIO, cast

HEAD_BYTES = 4096
"""Bytes of a file's beginning that say what it is."""
MAX_DEPTH = 8
"""Archives in archives are opened to this depth."""
MAX_EXPANDED_BYTES = 4 << 30
"""Limit on what one file may expand to, with everything in it."""
FREE_EXPANDED_BYTES = 64 << 20
MAX_RATIO = 200
"""Beyond the free bytes, a file may expand to this multiple of its size."""
MAX_XZ_MEMORY = 256 << 20
MAX_TAR_HEADER_BYTES = 1 << 22
_MEMBER_COST = 1024
"""What a member counts at least, so that many empty members reach the limit, too."""
_READ_BYTES = 1 << 18

_ZIP_METHODS = frozenset((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
_OPAQUE_KINDS = (
    (b"%PDF-", "a PDF"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"MSCF", "a cabinet archive"),
    (b"LZIP", "an lzip file"),
    (b"\x89LZO", "an lzop file"),
    (b"\x1f\x9d", "a compress file"),
    (b"\xff\x06\x00\x00sNaPpY", "a Snappy file"),
    (b"xar!", "a xar archive"),
    (b"!<arch>\n", "an ar archive"),
    (b"\xed\xab\xee\xdb", "an RPM package"),
    (b"hsqs", "a SquashFS image"),
    (b"PACK\x00", "a Git pack"),
    (b"\x89HDF\r\n", "an HDF5 file"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file"),
    (b"Salted__", "an encrypted file"),
    (b"age-encryption.org/", "an encrypted file"),
    (b"-----BEGIN PGP MESSAGE", "an encrypted file"),
    (b"LUKS\xba\xbe", "an encrypted disk"),
    (b"\x03\xd9\xa2\x9a", "a KeePass database"),
)
"""First bytes of files that are searched as bytes only, because nothing here can decode them."""
_OPAQUE_SUFFIXES = {
    ".br": "a Brotli file",
    ".gpg": "an encrypted file",
    ".ldb": "a LevelDB table",
    ".lzma": "an LZMA file",
    ".sst": "a RocksDB table",
}


class LimitError(Exception):
    """A file expands to more than the limits allow."""


@dataclass(kw_only=True)
class ExpansionBudget:
    """How much one file on disk may still expand to."""

    file_bytes: int
    spent: int = 0

    def spend_bytes(self, count: int) -> None:
        """Count expanded bytes; raises LimitError if a limit is passed."""
        self.spent += count
        by_ratio = max(FREE_EXPANDED_BYTES, MAX_RATIO * self.file_bytes)
        if self.spent > min(MAX_EXPANDED_BYTES, by_ratio):
            raise LimitError(
                f"it expands to more than {min(MAX_EXPANDED_BYTES, by_ratio) >> 20:,} MB, the "
                f"limit for a file of {self.file_bytes:,} bytes"
            )


@dataclass(frozen=True, kw_only=True)
class ArchiveMember:
    """One file in an archive. If it cannot be opened, ``stream`` is ``None``, and ``why`` says
    why."""

    name: str
    stream: MemberStream | None = None
    why: str = ""


def recognize_container(head: bytes, name: str) -> str:
    """Return ``zip``, ``tar`` or the kind of compression; empty for other files."""
    for start, kind in (
        (b"PK\x03\x04", "zip"),
        (b"PK\x05\x06", "zip"),
        (b"\x1f\x8b", "gzip"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x04\x22\x4d\x18", "lz4"),
    ):
        if head.startswith(start):
            return kind
    if head.startswith(b"BZh") and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "bzip2"
    if head[257:262] == b"ustar" or (name.endswith(".tar") and len(head) >= 512):
        return "tar"
    # The header of zlib: a method, and a checksum over two bytes. Git's objects are such files.
    if head[:1] == b"x" and len(head) > 2 and int.from_bytes(head[:2], "big") % 31 == 0:
        return "zlib"
    return ""


def describe_opaque(head: bytes, name: str) -> str:
    """Return what a file is that nothing here can decode; empty for other files."""
    for start, kind in _OPAQUE_KINDS:
        if head.startswith(start):
            return kind
    return _OPAQUE_SUFFIXES.get(PurePath(name).suffix.lower(), "")


def is_embedded_file(head: bytes) -> bool:
    """Whether a value begins as a file that is not plain: an archive, a database, a PDF.

    Only beginnings of three or more bytes count, because many values are looked at.
    """
    kind = recognize_container(head, "")
    if kind == "gzip":
        return head[2:3] == b"\x08"
    if kind or head.startswith((b"SQLite format 3\x00", b"PAR1", b"ARROW1\x00\x00")):
        return kind != "tar"
    return any(head.startswith(start) for start, _ in _OPAQUE_KINDS if len(start) > 3)


def iter_members(
    kind: str, stream: BinaryIO, name: str, budget: ExpansionBudget
) -> Iterator[ArchiveMember]:
    """Yield the members of an archive, or the content of a compressed file as its only member.

    Read a member before the next one is taken. Reading raises LimitError, and the errors of the
    libraries for damaged files.
    """
    if kind == "zip":
        yield from _iter_zip(stream, budget)
    elif kind == "tar":
        yield from _iter_tar(stream, budget)
    else:
        inner = PurePath(name).name
        suffix = PurePath(inner).suffix.lower()
        if suffix in (".tgz", ".tbz2", ".txz"):
            inner = f"{PurePath(inner).stem}.tar"
        elif suffix in (".gz", ".bz2", ".xz", ".zst", ".lz4", ".z"):
            inner = PurePath(inner).stem
        yield ArchiveMember(name=inner, stream=MemberStream(_DECODERS[kind](stream), budget))


def _iter_zip(stream: BinaryIO, budget: ExpansionBudget) -> Iterator[ArchiveMember]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            budget.spend_bytes(_MEMBER_COST)
            if info.is_dir():
                yield ArchiveMember(name=info.filename, stream=MemberStream(iter(()), budget))
            elif info.flag_bits & 1:
                yield ArchiveMember(name=info.filename, why="it is encrypted")
            elif info.compress_type not in _ZIP_METHODS:
                why = f"its compression (method {info.compress_type}) is not supported"
                yield ArchiveMember(name=info.filename, why=why)
            else:
                yield _open_zip_member(archive, info, budget)


def _open_zip_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: ExpansionBudget
) -> ArchiveMember:
    # A damaged header of one member does not keep the others from being searched.
    try:
        opened = archive.open(info)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError) as error:
        return ArchiveMember(name=info.filename, why=str(error))
    return ArchiveMember(name=info.filename, stream=MemberStream(_iter_chunks(opened), budget))


def _iter_tar(stream: BinaryIO, budget: ExpansionBudget) -> Iterator[ArchiveMember]:
    limited = _HeaderLimit(stream)
    with tarfile.open(fileobj=cast("Any", limited), mode="r|") as archive:
        while True:
            # Headers are read into memory, members in chunks.
            limited.left = MAX_TAR_HEADER_BYTES
            info = archive.next()
            if info is None:
                return
            budget.spend_bytes(_MEMBER_COST)
            limited.left = None
            content = archive.extractfile(info) if info.isreg() else None
            # A link's target is a name, too.
            name = f"{info.name} -> {info.linkname}" if info.linkname else info.name
            chunks = _iter_chunks(content) if content else iter(())
            yield ArchiveMember(name=name, stream=MemberStream(chunks, budget))
            # Leave no rest of a member, which would count as a header.
            for _ in chunks:
                pass


class _HeaderLimit:
    """A stream that refuses to read more than ``left`` bytes, if that is not ``None``."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.left: int | None = MAX_TAR_HEADER_BYTES

    def read(self, count: int) -> bytes:
        if self.left is not None:
            self.left -= count
            if self.left < 0:
                raise LimitError("a header in it is too large")
        return self._stream.read(count)


def _iter_chunks(stream: Any) -> Iterator[bytes]:
    while part := stream.read(_READ_BYTES):
        yield part


def _iter_zlib(stream: BinaryIO) -> Iterator[bytes]:
    """Decompress zlib and gzip files, also several in a row."""
    decoder = zlib.decompressobj(wbits=47)
    raw = stream.read(_READ_BYTES)
    while raw:
        yield decoder.decompress(raw, _READ_BYTES)
        raw = decoder.unconsumed_tail
        if decoder.eof:
            # Padding and other bytes behind the end were searched as they are.
            raw = decoder.unused_data or stream.read(_READ_BYTES)
            if not raw.startswith(b"\x1f\x8b"):
                return
            decoder = zlib.decompressobj(wbits=47)
        raw = raw or stream.read(_READ_BYTES)
    raise EOFError("it ends too early")


def _iter_blocks(stream: BinaryIO, make: Callable[[], Any], start: bytes) -> Iterator[bytes]:
    """Decompress bzip2 and xz files, also several in a row."""
    decoder = make()
    raw = stream.read(_READ_BYTES)
    while True:
        yield decoder.decompress(raw, _READ_BYTES)
        raw = b""
        if decoder.eof:
            raw = decoder.unused_data or stream.read(_READ_BYTES)
            if not raw.startswith(start):
                return
            decoder = make()
        elif decoder.needs_input:
            raw = stream.read(_READ_BYTES)
            if not raw:
                raise EOFError("it ends too early")


def _iter_bzip2(stream: BinaryIO) -> Iterator[bytes]:
    return _iter_blocks(stream, bz2.BZ2Decompressor, b"BZh")


def _iter_xz(stream: BinaryIO) -> Iterator[bytes]:
    def make_decoder() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(memlimit=MAX_XZ_MEMORY)

    return _iter_blocks(stream, make_decoder, b"\xfd7zXZ\x00")


def _iter_arrow(stream: BinaryIO, kind: str) -> Iterator[bytes]:
    import pyarrow  # pyright: ignore[reportMissingTypeStubs]

    arrow = cast("Any", pyarrow)
    with arrow.CompressedInputStream(arrow.PythonFile(stream, mode="r"), kind) as opened:
        yield from _iter_chunks(opened)


_DECODERS: dict[str, Callable[[BinaryIO], Iterator[bytes]]] = {
    "gzip": _iter_zlib,
    "zlib": _iter_zlib,
    "bzip2": _iter_bzip2,
    "xz": _iter_xz,
    "zstd": lambda stream: _iter_arrow(stream, "zstd"),
    "lz4": lambda stream: _iter_arrow(stream, "lz4"),
}


class MemberStream:
    """A stream over decompressed chunks that counts what is read."""

    def __init__(self, chunks: Iterator[bytes], budget: ExpansionBudget) -> None:
        self._chunks, self._budget = chunks, budget
        self._rest = b""
        self._error: Exception | None = None

    def read(self, count: int) -> bytes:
        """Return the next bytes, fewer only at the end. An error is raised after what came before
        it was returned."""
        parts = [self._rest]
        size = len(self._rest)
        while size < count and self._error is None:
            try:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._budget.spend_bytes(len(chunk))
            except Exception as error:
                self._error = error
                break
            parts.append(chunk)
            size += len(chunk)
        raw = b"".join(parts)
        if not raw and self._error is not None:
            raise self._error
        self._rest = raw[count:]
        return raw[:count]
