"""The parts that all benchmarks share: exit codes, caches, and comparisons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idiolect.errors import MissingError
from kit import cli
from kit.memo_encoder import CachingEncoder
from kit.resumable import ResultCache
from support.letter_encoder import make_letter_encoder


def raise_error(error: BaseException) -> int:
    raise error


def test_run_to_exit_code_returns_the_code_of_the_run() -> None:
    assert cli.run_to_exit_code(lambda: 3) == 3


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (MissingError("no such folder: x"), 1, "no such folder: x\n"),
        (KeyboardInterrupt(), 130, "stopped; the same command resumes"),
    ],
)
def test_run_to_exit_code_prints_an_error_in_one_line(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_to_exit_code(lambda: raise_error(error)) == code
    assert line in capsys.readouterr().err


def test_run_to_exit_code_lets_a_program_fault_through() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.run_to_exit_code(lambda: raise_error(ZeroDivisionError()))


def test_result_cache_returns_only_results_with_the_same_fingerprint(tmp_path: Path) -> None:
    one, other = ResultCache(tmp_path, {"a": 1}), ResultCache(tmp_path, {"a": 2})
    assert one.get_or_make("x", lambda: {"n": 1})["n"] == 1
    assert one.get_or_make("x", lambda: {"n": 2})["n"] == 1
    assert other.get_or_make("x", lambda: {"n": 3})["n"] == 3
    assert [one.add_elapsed(2.0), one.add_elapsed(3.0), other.add_elapsed(1.0)] == [2.0, 5.0, 1.0]


def test_caching_encoder_encodes_each_text_once() -> None:
    encode, encoded = make_letter_encoder("ab"), list[str]()

    def record_texts(texts: Sequence[str]) -> Any:
        encoded.extend(texts)
        return encode(texts)

    encoder = CachingEncoder(record_texts)
    np.testing.assert_array_equal(encoder(["aa", "b", "aa"]), encode(["aa", "b", "aa"]))
    np.testing.assert_array_equal(encoder(["b", "ab"]), encode(["b", "ab"]))
    assert encoded == ["aa", "b", "ab"]
