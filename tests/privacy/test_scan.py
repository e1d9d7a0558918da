"""Many texts are found at once in many formats, and nobody is accused by a short id."""

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
from idiolect.privacy.patterns import (
    MIN_PATTERN_CHARS,
    TENSORS_FOUND,
    SearchPatterns,
    normalize_text,
    split_into_patterns,
)
from idiolect.privacy.scan import WORDS_FOUND, ScanHit, scan_tree

SENTENCE = "The heron by the inlet has never been seen at dawn by anybody else"
NUMBERS = bytes(range(1, 65))
NEEDLES = SearchPatterns(split_into_patterns([SENTENCE]), frozenset([NUMBERS]))


@given(
    st.lists(st.text("ab", min_size=16, max_size=18), min_size=1, max_size=8),
    st.text("ab", max_size=200),
)
def test_the_search_finds_what_a_plain_one_does(wanted: list[str], text: str) -> None:
    text = f"{text}{wanted[0]}{text}{wanted[-1][1:]}"
    found = SearchPatterns(frozenset(wanted)).find_in_text(text)
    assert found == {one for one in wanted if one in text}


def test_it_finds_across_the_edges_of_its_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idiolect.privacy.patterns._CHUNK_SIZE", 16)
    for before in range(40):
        assert NEEDLES.contains_tensors(b"\x00" * before + NUMBERS)
        assert not NEEDLES.contains_tensors(b"\x00" * before + NUMBERS[:-1])


def test_short_texts_tell_nothing_and_long_ones_are_found_by_a_part() -> None:
    assert split_into_patterns(["Thanks a lot!", "ok", ""]) == frozenset()
    assert all(len(piece) >= MIN_PATTERN_CHARS for piece in split_into_patterns([SENTENCE * 3]))
    assert NEEDLES.find_in_text(f"as they say:\n{SENTENCE[:40].upper()}...")
    assert NEEDLES.find_in_text(SENTENCE[-34:].replace(" ", "  \n"))
    assert not NEEDLES.find_in_text("The heron has been seen at noon, by the inlet")
    assert normalize_text("  Ａ\tB ") == "a b"


def found(folder: Path, person: str = "annabel") -> list[tuple[str, str]]:
    return [(hit.where.name, hit.what) for hit in scan_tree([folder], person, NEEDLES)]


def database(path: Path, value: object) -> None:
    connection = sqlite3.connect(path)
    connection.execute('CREATE TABLE "what was" (said)')
    connection.execute('INSERT INTO "what was" VALUES (?)', [value])
    connection.commit()
    connection.close()


def archive(path: Path, name: str, text: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr(name, text)


def safetensors(path: Path, metadata: dict[str, str]) -> None:
    head = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(b"x" * 32 + len(head).to_bytes(8, "little") + head)


def test_every_format_is_decoded(tmp_path: Path) -> None:
    escaped = json.dumps({"a": [{"b": SENTENCE.replace("h", "\u00e9h")}]})
    assert "\\u" in escaped
    plain_json = json.dumps({"a": [{"b": SENTENCE}]}).replace("t", "\\u0074")
    (tmp_path / "a.json").write_text(plain_json)
    (tmp_path / "b.jsonl").write_text("\n" + plain_json + "\n" + plain_json)
    (tmp_path / "c.gz").write_bytes(gzip.compress(SENTENCE.encode()))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(plain_json.encode()))
    archive(tmp_path / "d.zip", "x.json", plain_json)
    database(tmp_path / "e.db", SENTENCE)
    database(tmp_path / "e.bin", SENTENCE.encode())
    safetensors(tmp_path / "f.bin", {"state": plain_json})
    (tmp_path / "g.txt").write_bytes(SENTENCE.encode("utf-16"))
    (tmp_path / "h.html").write_text(SENTENCE.replace("e", "&#101;"))
    (tmp_path / ".hidden").write_text(SENTENCE)
    (tmp_path / "i.json").write_text(f'{{"broken": "{SENTENCE}"')
    (tmp_path / "innocent.json").write_text('{"person": "annabella"}')
    assert {name for name, what in found(tmp_path) if what == WORDS_FOUND} == {
        *("a.json", "b.jsonl", "c.gz", "c.jsonl.gz", "d.zip", "e.db", "e.bin", "f.bin"),
        *("g.txt", "h.html", ".hidden", "i.json"),
    }


def test_numbers_are_found_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"\x07" * 1001 + NUMBERS + b"\x07")
    assert scan_tree([tmp_path], "", NEEDLES) == (
        ScanHit(where=tmp_path / "w.bin", what=TENSORS_FOUND),
    )


@pytest.mark.parametrize(
    ("person", "content", "hit"),
    [
        ("annabel", {"x": "annabel"}, True),
        ("annabel", {"annabel": 1}, True),
        ("annabel", {"x": "annabel said so"}, False),  # a word like others, in somebody's text
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
def test_an_id_counts_where_it_can_be_one(
    tmp_path: Path, person: str, content: object, hit: bool
) -> None:
    (tmp_path / "x.json").write_text(json.dumps(content))
    assert bool(found(tmp_path, person)) is hit


def test_prose_and_names_of_files(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("Annabel called; annabel's adapter is good")
    (tmp_path / "of-annabel").mkdir()
    (tmp_path / "of-annabel" / "x").write_bytes(b"")
    assert found(tmp_path) == [("notes.md", "the id"), ("x", "the id in its name")]
    assert found(tmp_path, "annabe") == []


def test_where_a_number_is_somebody_else_only_texts_count(tmp_path: Path) -> None:
    for name in ("films", "chats"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.json").write_text(json.dumps({"person": "42", "t": SENTENCE}))
    hits = scan_tree([tmp_path], "42", NEEDLES, foreign_folders=[tmp_path / "films"])
    assert [(hit.where.parent.name, hit.what) for hit in hits] == [
        ("chats", "the id"),
        ("chats", WORDS_FOUND),
        ("films", WORDS_FOUND),
    ]


def test_a_file_that_is_spared_is_passed_by(tmp_path: Path) -> None:
    for name in ("theirs.txt", "other.txt"):
        (tmp_path / name).write_text(SENTENCE)
    hits = scan_tree([tmp_path], "", NEEDLES, excluded=[tmp_path / "." / "theirs.txt"])
    assert [hit.where.name for hit in hits] == ["other.txt"]


def test_a_reader_of_its_own_comes_first(tmp_path: Path) -> None:
    (tmp_path / "x.odd").write_bytes(b"odd")
    hits = scan_tree(
        [tmp_path],
        "annabel",
        NEEDLES,
        readers=[lambda path: iter([("person", "annabel")]) if path.suffix == ".odd" else None],
    )
    assert [hit.what for hit in hits] == ["the id"]


def test_folders_are_walked_once_and_hidden_ones_not(tmp_path: Path) -> None:
    for name in ("a/b", ".hidden/c"):
        (tmp_path / name).mkdir(parents=True)
    walked = list(walk_folders([tmp_path, tmp_path / "a"]))
    assert walked == [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]


def test_files_are_deleted_in_order_and_foreign_ones_stay(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    (folder / "below").mkdir(parents=True)
    for name in ("below/one", "two", ".x.lock", "mine"):
        (folder / name).write_text("")
    delete_files(folder, ["below/one", "two", "never there"])
    assert sorted(p.name for p in folder.iterdir()) == [".x.lock", "mine"]
    (folder / "mine").unlink()
    delete_files(folder, [])
    assert not folder.exists()
