"""Tests of the plain JSONL format: round trip, and errors with line numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from idiolect.errors import DataError, MissingError
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.jsonl import HistoryLine, read_lines, replace_surrogates, write_jsonl


def test_write_jsonl_round_trips(tmp_path: Path) -> None:
    item = Interaction(id="7", position=0, fields={"text": "naïve 🙂"}, time=1.5, voices=("bob",))
    query = Interaction(id="q", position=1, fields={"text": "?"})
    # All fields, including text outside ASCII, must survive.
    path = tmp_path / "out.jsonl"
    write_jsonl(path, [History("ann", (item,), (query,))], splits={"ann": "test"})
    assert list(read_lines(path)) == [
        HistoryLine(
            number=1,
            person="ann",
            kind="item",
            id="7",
            time=1.5,
            fields={"text": "naïve 🙂"},
            voices=("bob",),
            split="test",
        ),
        HistoryLine(
            number=2,
            person="ann",
            kind="query",
            id="q",
            time=None,
            fields={"text": "?"},
            voices=(),
            split="test",
        ),
    ]


def test_read_lines_accepts_minimal_lines_blank_lines_bom_and_dates(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(
        # Byte order mark, numeric person, date as text.
        b'\xef\xbb\xbf{"person": 3, "fields": {"text": "a"}, "time": "1970-01-02"}\r\n'
        b'\n{"person": "x", "fields": {"n": 5}, "time": 7}'
    )
    one, two = read_lines(path)
    assert (one.person, one.id, one.kind, one.time, one.number) == ("3", "", "item", 86400.0, 1)
    assert (two.fields, two.time, two.number) == ({"n": "5"}, 7.0, 3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "expected a JSON object, found list"),
        ("[" * 100_000, "not JSON"),
        ('{"fields": {"a": "b"}}', "'person' must be text, found None"),
        ('{"person": " ", "fields": {"a": "b"}}', "'person' is empty"),
        ('{"person": "p"}', "'fields' must be an object"),
        ('{"person": "p", "fields": {}}', "'fields' must be an object"),
        ('{"person": "p", "fields": {"a": ["b"]}}', "field 'a' must be text"),
        ('{"person": "p", "fields": {"a": NaN}}', "field 'a' must be text, found nan"),
        ('{"person": "p", "fields": {"a": "b"}, "kind": "thing"}', "'kind' is 'thing'"),
        ('{"person": "p", "fields": {"a": "b"}, "time": NaN}', "'time' is nan"),
        ('{"person": "p", "fields": {"a": "b"}, "time": 1e400}', "'time' is inf"),
        ('{"person": "p", "fields": {"a": "b"}, "time": true}', "True is not a date"),
        ('{"person": "p", "fields": {"a": "b"}, "time": "soon"}', "'soon' is not a date"),
        ('{"person": "p", "fields": {"a": "b"}, "voices": "bob"}', "'voices' must be a list"),
        ('{"person": "p", "fields": {"a": "b"}, "voices": [null]}', "a voice must be text"),
        ('{"person": "p", "fields": {"a": "b"}, "tme": 3}', "unknown key 'tme'"),
        (b"\xff\xfe{".decode("latin-1"), "not UTF-8"),
    ],
)
def test_read_lines_names_file_and_line_of_broken_line(
    tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "in.jsonl"
    # The first line is valid, so the error must name line 2.
    good = json.dumps({"person": "p", "fields": {"a": "b"}})
    path.write_bytes(f"{good}\n{line}\n".encode("latin-1"))
    with pytest.raises(DataError, match=message) as caught:
        list(read_lines(path))
    assert str(caught.value).startswith(f"{path}:2: ")


def test_read_lines_raises_if_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no\.jsonl"):
        list(read_lines(tmp_path / "no.jsonl"))


def test_replace_surrogates_replaces_lone_halves() -> None:
    assert replace_surrogates("a\ud83db") == "a\ufffdb"
    assert replace_surrogates("\ud83d\ude42") == "🙂"
    assert replace_surrogates("plain") == "plain"
