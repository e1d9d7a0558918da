"""Tests of the search for personal text: patterns, file formats, and ids."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.privacy.erasure import delete_files, walk_folders
from idiolect.privacy.search.file_search import WORDS_FOUND, ScanHit
from idiolect.privacy.search.patterns import (
    MIN_PATTERN_CHARS,
    TENSORS_FOUND,
    SearchPatterns,
    normalize_text,
    split_into_patterns,
)
from idiolect.privacy.search.scan import scan_tree

SENTENCE = "The heron by the inlet has never been seen at dawn by any other person"
NUMBERS = bytes(range(1, 65))
NEEDLES = SearchPatterns(split_into_patterns([SENTENCE]), frozenset([NUMBERS]))


@given(
    st.lists(st.text("ab", min_size=16, max_size=18), min_size=1, max_size=8),
    st.text("ab", max_size=200),
)
def test_find_in_text_matches_naive_search(wanted: list[str], text: str) -> None:
    # Make sure that at least one pattern occurs, and one almost occurs.
    text = f"{text}{wanted[0]}{text}{wanted[-1][1:]}"
    found = SearchPatterns(frozenset(wanted)).find_in_text(text)
    assert found == {one for one in wanted if one in text}


def test_contains_tensors_finds_pattern_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idiolect.privacy.search.pattern_search._BLOCK_BYTES", 16)
    for before in range(40):
        assert NEEDLES.contains_tensors(b"\x00" * before + NUMBERS)
        assert not NEEDLES.contains_tensors(b"\x00" * before + NUMBERS[:-1])


def test_split_into_patterns_skips_short_texts_and_finds_parts_of_long_ones() -> None:
    assert split_into_patterns(["Thanks a lot!", "ok", ""]) == frozenset()
    assert all(len(piece) >= MIN_PATTERN_CHARS for piece in split_into_patterns([SENTENCE * 3]))
    # A part of the sentence, in other case and spacing, is enough.
    assert NEEDLES.find_in_text(f"as they say:\n{SENTENCE[:40].upper()}...")
    assert NEEDLES.find_in_text(SENTENCE[-34:].replace(" ", "  \n"))
    assert not NEEDLES.find_in_text("The heron has been seen at noon, by the inlet")
    assert normalize_text("  Ａ\tB ") == "a b"


def find_traces(folder: Path, person: str = "annabel") -> list[tuple[str, str]]:
    return [(hit.where.name, hit.what) for hit in scan_tree([folder], person, NEEDLES).hits]


def write_database(path: Path, value: object) -> None:
    connection = sqlite3.connect(path)
    connection.execute('CREATE TABLE "what was" (said)')
    connection.execute('INSERT INTO "what was" VALUES (?)', [value])
    connection.commit()
    connection.close()


def write_archive(path: Path, name: str, text: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr(name, text)


def write_safetensors(path: Path, metadata: dict[str, str]) -> None:
    head = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(b"x" * 32 + len(head).to_bytes(8, "little") + head)


def test_scan_tree_decodes_every_format(tmp_path: Path) -> None:
    escaped = json.dumps({"a": [{"b": SENTENCE.replace("h", "\u00e9h")}]})
    assert "\\u" in escaped
    # Escapes hide the text from a search of the raw bytes.
    plain_json = json.dumps({"a": [{"b": SENTENCE}]}).replace("t", "\\u0074")
    (tmp_path / "a.json").write_text(plain_json)
    (tmp_path / "b.jsonl").write_text("\n" + plain_json + "\n" + plain_json)
    (tmp_path / "c.gz").write_bytes(gzip.compress(SENTENCE.encode()))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(plain_json.encode()))
    write_archive(tmp_path / "d.zip", "x.json", plain_json)
    write_database(tmp_path / "e.db", SENTENCE)
    write_database(tmp_path / "e.bin", SENTENCE.encode())
    write_safetensors(tmp_path / "f.bin", {"state": plain_json})
    (tmp_path / "g.txt").write_bytes(SENTENCE.encode("utf-16"))
    (tmp_path / "h.html").write_text(SENTENCE.replace("e", "&#101;"))
    (tmp_path / ".hidden").write_text(SENTENCE)
    (tmp_path / "i.json").write_text(f'{{"broken": "{SENTENCE}"')
    (tmp_path / "innocent.json").write_text('{"person": "annabella"}')
    # Every file is found except the innocent one.
    assert {name for name, what in find_traces(tmp_path) if what == WORDS_FOUND} == {
        *("a.json", "b.jsonl", "c.gz", "c.jsonl.gz", "d.zip", "e.db", "e.bin", "f.bin"),
        *("g.txt", "h.html", ".hidden", "i.json"),
    }


def test_scan_tree_finds_tensor_bytes_at_any_offset(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\x07" * 1001 + NUMBERS + b"\x07")
    assert scan_tree([tmp_path], "", NEEDLES).hits == (
        ScanHit(where=tmp_path / "w.bin", what=TENSORS_FOUND),
    )


@pytest.mark.parametrize(
    ("person", "content", "hit"),
    [
        ("annabel", {"x": "annabel"}, True),
        ("annabel", {"annabel": 1}, True),
        ("annabel", {"x": "annabel said so"}, False),  # an ordinary word in another person's text
        ("ann-4711", {"x": "so said ann-4711."}, True),
        ("42", {"person": "42"}, True),
        ("42", {"person": 42}, True),
        ("42", {"per_person": {"42": 0.5}}, True),
        ("42", {"rating": "42"}, False),
        ("42", {"curve": {"42": 1.0}}, False),
        ("me", {"people": ["me"]}, True),
        ("me", {"text": "me"}, False),
    ],
)
def test_scan_tree_matches_id_only_in_plausible_places(
    tmp_path: Path, person: str, content: object, hit: bool
) -> None:
    (tmp_path / "x.json").write_text(json.dumps(content))
    assert bool(find_traces(tmp_path, person)) is hit


def test_scan_tree_finds_id_in_prose_and_file_names(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("Annabel called; annabel's adapter is good")
    (tmp_path / "of-annabel").mkdir()
    (tmp_path / "of-annabel" / "x").write_bytes(b"")
    assert find_traces(tmp_path) == [("notes.md", "the id"), ("of-annabel", "the id in its name")]
    assert find_traces(tmp_path, "annabe") == []


def test_scan_tree_ignores_id_in_foreign_folders(tmp_path: Path) -> None:
    for name in ("films", "chats"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.json").write_text(json.dumps({"person": "42", "t": SENTENCE}))
    hits = scan_tree([tmp_path], "42", NEEDLES, foreign_folders=[tmp_path / "films"]).hits
    assert [(hit.where.parent.name, hit.what) for hit in hits] == [
        ("chats", "the id"),
        ("chats", WORDS_FOUND),
        ("films", WORDS_FOUND),
    ]


def test_scan_tree_skips_excluded_file(tmp_path: Path) -> None:
    for name in ("theirs.txt", "other.txt"):
        (tmp_path / name).write_text(SENTENCE)
    hits = scan_tree([tmp_path], "", NEEDLES, excluded=[tmp_path / "." / "theirs.txt"]).hits
    assert [hit.where.name for hit in hits] == ["other.txt"]


def test_scan_tree_prefers_custom_reader(tmp_path: Path) -> None:
    (tmp_path / "x.odd").write_bytes(b"odd")
    hits = scan_tree(
        [tmp_path],
        "annabel",
        NEEDLES,
        readers=[lambda path: iter([("person", "annabel")]) if path.suffix == ".odd" else None],
    ).hits
    assert [hit.what for hit in hits] == ["the id"]


def test_walk_folders_yields_each_once_without_hidden(tmp_path: Path) -> None:
    for name in ("a/b", ".hidden/c"):
        (tmp_path / name).mkdir(parents=True)
    walked = list(walk_folders([tmp_path, tmp_path / "a"]))
    assert walked == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]


def test_delete_files_keeps_foreign_files(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    (folder / "below").mkdir(parents=True)
    for name in ("below/one", "two", ".x.lock", "mine"):
        (folder / name).write_text("")
    delete_files(folder, ["below/one", "two", "never there"])
    assert sorted(p.name for p in folder.iterdir()) == [".x.lock", "mine"]
    # Without the foreign file, the folder itself is deleted.
    (folder / "mine").unlink()
    delete_files(folder, [])
    assert not folder.exists()
