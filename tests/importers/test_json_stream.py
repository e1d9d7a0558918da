"""Tests of the streaming JSON reader against ``json.loads``, with parts of any size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.errors import DataError
from idiolect.importers import json_stream

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(
    content=st.lists(VALUES, max_size=6),
    indent=st.none() | st.integers(0, 2),
    ascii_only=st.booleans(),
    part=st.integers(1, 40),
)
def test_iter_array_equals_json_loads(
    content: list[Any],
    indent: int | None,
    ascii_only: bool,
    part: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("arrays") / "in.json"
    text = json.dumps(content, indent=indent, ensure_ascii=ascii_only)
    # Lone surrogates cannot be encoded otherwise.
    path.write_bytes(b" \n" + text.encode("utf-8", "surrogatepass"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_READ_BYTES", part)
        assert [value for _, value in json_stream.iter_array(path)] == content


@pytest.mark.parametrize("part", [1, 7, 1 << 20])
def test_iter_array_yields_line_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(json_stream, "_READ_BYTES", part)
    path = tmp_path / "in.json"
    path.write_text('\ufeff[\n{"a":\n1}, {"b": 2},\n\n 17 ]\n', encoding="utf-8")
    found = list(json_stream.iter_array(path))
    assert found == [(2, {"a": 1}), (3, {"b": 2}), (5, 17)]


@pytest.mark.parametrize("part", [1, 5, 1 << 20])
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'[\n{"a": 1},\n{"a" 1}]', r"in\.json:3: not JSON: Expecting ':' delimiter"),
        (b'[\n{"a": 1}\n{"b": 1}]', r"in\.json:3: expected ',' or '\]', found '\{"),
        (b'[\n{"a": 1},\n', r"in\.json:3: not JSON: Expecting value"),
        (b'[\n{"a": 1},\n]', r"in\.json:3: not JSON: Expecting value"),
        (b"[1]\n\n2", r"in\.json:3: the array has ended, but '2' follows"),
        (b'[\n"a",\n"\xff"]', r"in\.json:3: not UTF-8 text"),
        (b'\n\n"a"', r"in\.json:3: expected a JSON array, found '\"a\"'"),
        (b"", r"in\.json:1: expected a JSON array, found nothing"),
        (b"[" * 100_000, r"in\.json:1: not JSON"),
    ],
)
def test_iter_array_names_line_of_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: bytes, message: str, part: int
) -> None:
    monkeypatch.setattr(json_stream, "_READ_BYTES", part)
    path = tmp_path / "in.json"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=message):
        list(json_stream.iter_array(path))
