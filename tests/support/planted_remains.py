"""Kinds of files and places in which a person's words can remain, each written by one function.

Each function gets an empty folder below the searched one, another folder outside of it, and the
words. The search must find the words, or list the file as not looked into.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import html
import io
import json
import lzma
import mailbox
import os
import pickle
import quopri
import socket
import sqlite3
import tarfile
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow
import pyarrow.parquet

Plant = Callable[[Path, Path, str], None]

_arrow = cast("Any", pyarrow)


def zip_bytes(name: str, raw: bytes) -> bytes:
    """Return a ZIP with one member."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, raw)
    return out.getvalue()


def tar_bytes(name: str, raw: bytes, mode: str = "w") -> bytes:
    """Return a TAR with one member."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=cast("Any", mode)) as archive:
        info = tarfile.TarInfo(name)
        info.size = len(raw)
        archive.addfile(info, io.BytesIO(raw))
    return out.getvalue()


def make_plant(name: str, encode: Callable[[str], bytes]) -> Plant:
    """Return a function that writes one file with the encoded words."""

    def write_file(here: Path, outside: Path, words: str) -> None:
        (here / name).write_bytes(encode(words))

    return write_file


def encode_locked_zip(words: str) -> bytes:
    """Return a ZIP whose only member is marked as encrypted."""
    raw = bytearray(zip_bytes("x.txt", words.encode()))
    raw[6] |= 1  # in the member's own header
    raw[raw.index(b"PK\x01\x02") + 8] |= 1  # and in the directory
    return bytes(raw)


def encode_office(words: str) -> bytes:
    """Return a document whose XML cuts the words by tags."""
    half = len(words) // 2
    text = f"<w:t>{words[:half]}</w:t></w:r><w:r><w:t>{words[half:]}</w:t>"
    return zip_bytes("word/document.xml", f"<w:document>{text}</w:document>".encode())


def encode_mail(words: str) -> bytes:
    """Return a mail whose text is in Base64."""
    mail = EmailMessage()
    mail.set_content(f"Hello,\n\n{words}\n", cte="base64")
    return mail.as_bytes()


def encode_array(words: str) -> bytes:
    """Return a compressed NumPy archive with a text array (four bytes a character)."""
    out = io.BytesIO()
    np.savez_compressed(out, texts=np.array([words]))
    return out.getvalue()


def encode_table(words: str) -> bytes:
    """Return a compressed Parquet table with nested texts and a type of its own."""
    table = _arrow.table({"n": [1], "t": [[{"said": words.upper()}]]})
    out = io.BytesIO()
    cast("Any", pyarrow.parquet).write_table(table, out, compression="zstd")
    return out.getvalue()


def encode_arrow(words: str) -> bytes:
    """Return a compressed Arrow file."""
    table = _arrow.table({"t": [words]})
    out = io.BytesIO()
    options = _arrow.ipc.IpcWriteOptions(compression="zstd")
    with _arrow.ipc.new_file(out, table.schema, options=options) as writer:
        writer.write_table(table)
    return out.getvalue()


def encode_zstd(words: str) -> bytes:
    """Return a Zstandard file."""
    return bytes(_arrow.compress(words.encode(), codec="zstd", asbytes=True))


def wrap_words(words: str) -> str:
    """Return the words with a line end and a quote mark between each two."""
    return "> " + "\n> ".join(words.split())


def plant_log_of_database(here: Path, outside: Path, words: str) -> None:
    """Write a database whose words are in its write-ahead log only."""
    writer = sqlite3.connect(here / "work.db")
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    writer.execute("CREATE TABLE said (text)")
    writer.execute("INSERT INTO said VALUES (?)", [words])
    writer.commit()
    log = (here / "work.db-wal").read_bytes()
    writer.close()
    (here / "work.db-wal").write_bytes(log)


def plant_free_pages(here: Path, outside: Path, words: str) -> None:
    """Write a database in which the words were deleted, but not overwritten."""
    database = sqlite3.connect(here / "old.sqlite")
    database.execute("PRAGMA secure_delete = OFF")
    database.execute("CREATE TABLE said (text)")
    database.execute("INSERT INTO said VALUES (?)", [words])
    database.commit()
    database.execute("DELETE FROM said")
    database.commit()
    database.close()


def plant_compressed_cells(here: Path, outside: Path, words: str) -> None:
    """Write a database with a compressed value."""
    database = sqlite3.connect(here / "cells.db")
    database.execute("CREATE TABLE cache (body BLOB)")
    database.execute("INSERT INTO cache VALUES (?)", [gzip.compress(words.encode())])
    database.commit()
    database.close()


def plant_linked_file(here: Path, outside: Path, words: str) -> None:
    """Write a link to a file outside of the searched folders."""
    (outside / "far.txt").write_text(words)
    (here / "link.txt").symlink_to(outside / "far.txt")


def plant_linked_folder(here: Path, outside: Path, words: str) -> None:
    """Write a link to a folder that links back: a circle."""
    (outside / "deep").mkdir()
    (outside / "deep" / "far.txt").write_text(words)
    (outside / "deep" / "back").symlink_to(here)
    (here / "linked").symlink_to(outside / "deep")


def plant_linked_parent(here: Path, outside: Path, words: str) -> None:
    """Write a link to a folder that contains the searched one: it is not followed."""
    (outside.parent / "above.txt").write_text(words)
    (here / "up").symlink_to(outside.parent)


def plant_hard_link(here: Path, outside: Path, words: str) -> None:
    """Write a second name of a file outside of the searched folders."""
    (outside / "first.txt").write_text(words)
    os.link(outside / "first.txt", here / "second.txt")


def plant_git_object(here: Path, outside: Path, words: str) -> None:
    """Write a loose Git object, in a hidden folder."""
    raw = words.encode()
    place = here / ".git" / "objects" / "ab"
    place.mkdir(parents=True)
    (place / "cdef").write_bytes(zlib.compress(b"blob %d\x00" % len(raw) + raw))


def plant_mailbox(here: Path, outside: Path, words: str) -> None:
    """Write a mailbox with a compressed attachment."""
    mail = EmailMessage()
    mail.set_content("see attachment")
    mail.add_attachment(
        zip_bytes("x.txt", words.encode()), maintype="application", subtype="zip", filename="x.zip"
    )
    box = mailbox.mbox(here / "all.mbox")
    box.add(mail)
    box.close()


def plant_name(here: Path, outside: Path, words: str) -> None:
    """Write an empty file whose name is the words."""
    (here / f"{words.replace(' ', '_')}.txt").write_bytes(b"")


def plant_pipe(here: Path, outside: Path, words: str) -> None:
    """Write a named pipe: opening it would wait for a writer."""
    os.mkfifo(here / "pipe")


def plant_socket(here: Path, outside: Path, words: str) -> None:
    """Write a socket."""
    before = Path.cwd()
    os.chdir(here)  # the name of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
    finally:
        os.chdir(before)


def _json_escape(words: str) -> str:
    return "".join(f"\\u{ord(c):04x}" for c in words)


PLANTS: dict[str, Plant] = {
    "plain text in capitals": make_plant("a.txt", lambda w: w.upper().encode()),
    "no suffix": make_plant("README", str.encode),
    "backup of an editor": make_plant(".notes.txt.swp", lambda w: b"b0VIM 8.2\x00" + w.encode()),
    "wrapped lines": make_plant("mail.txt", lambda w: wrap_words(w).encode()),
    "UTF-16 without mark": make_plant("a.dat", lambda w: w.encode("utf-16-le")),
    "UTF-16 big-endian": make_plant("a.csv", lambda w: w.encode("utf-16-be")),
    "UTF-16 with mark": make_plant("b.txt", lambda w: w.encode("utf-16")),
    "UTF-32": make_plant("c.txt", lambda w: w.encode("utf-32-be")),
    "JSON escapes": make_plant("a.json", lambda w: f'{{"x": "{_json_escape(w)}"}}'.encode()),
    "JSON in JSON": make_plant("b.json", lambda w: json.dumps([json.dumps([w + "\n"])]).encode()),
    "broken JSON lines": make_plant("c.jsonl", lambda w: f'{{"x": "{_json_escape(w)}'.encode()),
    "list of words": make_plant("d.json", lambda w: json.dumps(w.split()).encode()),
    "HTML tags": make_plant("a.html", lambda w: f"<b>{'</b> <i>'.join(w)}</i>".encode()),
    "HTML entities": make_plant("b.html", lambda w: "".join(f"&#{ord(c)};" for c in w).encode()),
    "HTML in JSON": make_plant(
        "c.json",
        lambda w: json.dumps({"h": f"<p>{html.escape(w)}</p>".replace(" ", "<br>")}).encode(),
    ),
    "address": make_plant("log", lambda w: f"GET /?q={urllib.parse.quote(w)} 200".encode()),
    "address twice": make_plant(
        "log2", lambda w: urllib.parse.quote(urllib.parse.quote(w)).encode()
    ),
    "quoted-printable": make_plant(
        "a.eml", lambda w: quopri.encodestring(w.encode(), quotetabs=True)
    ),
    "mail in Base64": make_plant("b.eml", encode_mail),
    "mailbox with an archive": plant_mailbox,
    "Base64": make_plant("a.b64", lambda w: base64.b64encode(w.encode())),
    "Base64, second alignment": make_plant("b.b64", lambda w: base64.b64encode(b"1" + w.encode())),
    "Base64, third alignment": make_plant("c.b64", lambda w: base64.b64encode(b"12" + w.encode())),
    "Base64 behind letters": make_plant("d.b64", lambda w: b"abc" + base64.b64encode(w.encode())),
    "Base64 in lines": make_plant("e.b64", lambda w: base64.encodebytes(b"." * 40 + w.encode())),
    "Base64 in Base64": make_plant(
        "f.b64", lambda w: base64.b64encode(base64.urlsafe_b64encode(w.encode()))
    ),
    "hex digits": make_plant("dump.sql", lambda w: f"VALUES (X'{w.encode().hex()}')".encode()),
    "pickle": make_plant("a.pkl", lambda w: pickle.dumps({"x": [w]})),
    "NumPy archive": make_plant("a.npz", encode_array),
    "Parquet": make_plant("a.parquet", encode_table),
    "Parquet in a ZIP": make_plant("b.zip", lambda w: zip_bytes("x.parquet", encode_table(w))),
    "Arrow": make_plant("a.arrow", encode_arrow),
    "gzip": make_plant("a.log.gz", lambda w: gzip.compress(b"first") + gzip.compress(w.encode())),
    "bzip2": make_plant("a.bz2", lambda w: bz2.compress(w.encode())),
    "xz": make_plant("a.xz", lambda w: lzma.compress(w.encode())),
    "Zstandard": make_plant("a.zst", encode_zstd),
    "ZIP in a ZIP": make_plant("a.zip", lambda w: zip_bytes("b.zip", zip_bytes("c", w.encode()))),
    "ZIP behind a program": make_plant("a.exe", lambda w: b"MZ" * 99 + zip_bytes("c", w.encode())),
    "gzip in a TAR in a ZIP": make_plant(
        "c.zip", lambda w: zip_bytes("b.tar", tar_bytes("c.gz", gzip.compress(w.encode())))
    ),
    "tar.gz": make_plant("a.tar.gz", lambda w: tar_bytes("x", w.encode("utf-16"), "w:gz")),
    "tar.bz2": make_plant("a.tbz2", lambda w: tar_bytes("x", w.encode(), "w:bz2")),
    "tar.xz": make_plant("a.tar.xz", lambda w: tar_bytes("x", w.encode(), "w:xz")),
    "name in an archive": make_plant("n.tar.gz", lambda w: tar_bytes(f"{w}.txt", b"", "w:gz")),
    "office document": make_plant("a.docx", encode_office),
    "damaged gzip": make_plant("b.gz", lambda w: gzip.compress(w.encode() * 9)[:-8]),
    "damaged ZIP": make_plant("d.zip", lambda w: zip_bytes("x", w.encode())[:-30]),
    "damaged Parquet": make_plant("c.parquet", lambda w: encode_table(w)[:-20]),
    "damaged database": make_plant(
        "a.db", lambda w: b"SQLite format 3\x00" + zlib.compress(w.encode())
    ),
    "encrypted ZIP": make_plant("e.zip", encode_locked_zip),
    "7z": make_plant("a.7z", lambda w: b"7z\xbc\xaf\x27\x1c" + zlib.compress(w.encode())),
    "PDF": make_plant("a.pdf", lambda w: b"%PDF-1.7\n" + zlib.compress(w.encode())),
    "log of a database": plant_log_of_database,
    "free pages of a database": plant_free_pages,
    "compressed value in a database": plant_compressed_cells,
    "Git object": plant_git_object,
    "linked file": plant_linked_file,
    "linked folder, in a circle": plant_linked_folder,
    "linked parent folder": plant_linked_parent,
    "hard link": plant_hard_link,
    "file name": plant_name,
    "named pipe": plant_pipe,
    "socket": plant_socket,
}
"""What writes the words, by a description."""
