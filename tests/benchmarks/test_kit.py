"""The parts that all benchmarks share: exit codes, caches, and comparisons."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from idiolect.errors import MissingError
from idiolect.game.classifier.examples import Example
from idiolect.game.classifier.likelihood import LikelihoodScorer
from kit import cli
from kit.memo_encoder import CachingEncoder
from kit.resumable import LikelihoodCache, ResultCache
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


class FakeScorer:
    """Counts the pairs that it has to score; the score is the length of the answer."""

    def __init__(self) -> None:
        self.scored: dict[tuple[str, str], tuple[float, int]] = {}
        self.passes = 0

    def __call__(self, pairs: Sequence[Example]) -> Any:
        for pair in pairs:
            if pair.word_pair not in self.scored:
                self.scored[pair.word_pair] = float(len(pair.answer)), 1
                self.passes += 1
        return np.array([self.scored[pair.word_pair][0] for pair in pairs])


def test_likelihood_cache_reads_scores_of_an_earlier_run(tmp_path: Path) -> None:
    pairs = [
        Example(relation="meronyms", base_word="tree", answer=answer, related=True)
        for answer in ("leaf", "root", "bark")
    ]
    first, second = FakeScorer(), FakeScorer()
    scores = LikelihoodCache(cast(LikelihoodScorer, first), tmp_path / "x.json")(pairs)
    # A second run scores only the new pair.
    more = [*pairs, Example(relation="meronyms", base_word="car", answer="wheel", related=True)]
    again = LikelihoodCache(cast(LikelihoodScorer, second), tmp_path / "x.json")(more)
    assert (first.passes, second.passes) == (3, 1)
    assert again.tolist() == [*scores.tolist(), 5.0]


def test_kit_imports_nothing_from_suites() -> None:
    folder = Path(cli.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [alias.name for alias in node.names]
                module = getattr(node, "module", None) or names[0]
                assert not module.startswith("suites"), f"{path.name} imports {module}"
