"""Column formats of known data sets: how to recognize them, and how to read a record.

Works on records as mappings; ``readers.py`` reads the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from idiolect.errors import DataError
from idiolect.history.jsonl import replace_surrogates

Side = Literal["forget", "retain"]
"""What a set is used for; some files contain both."""
PromptResponses = Iterator[tuple[str, str]]
"""Prompts and their responses; a response is empty if the record has none."""
HARMFUL_SCORE = 0.5
"""A response counts as harmful from this mean score of people on, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class ColumnFormat:
    """A format of pairs: the columns that identify it, and a parser for its records."""

    name: str
    columns: tuple[str, ...]
    parse_record: Callable[[Mapping[str, Any], Side], PromptResponses]


def detect_format(record: Mapping[str, Any], *, file: Path, line: int) -> ColumnFormat:
    """Return the first format whose columns are present. Raises DataError with the columns found
    and the known formats."""
    for layout in COLUMN_FORMATS:
        if set(layout.columns) <= set(record):
            return layout
    # No format matches: list the known ones.
    known = "; ".join(f"{x.name}: {', '.join(x.columns)}" for x in COLUMN_FORMATS)
    found = ", ".join(map(str, record)) or "none"
    raise DataError(f"unknown columns: {found}", file=file, line=line, hint=f"known are {known}")


def read_text(record: Mapping[str, Any], column: str) -> str:
    """Return a column's text. Raises DataError if it is not text."""
    value = record.get(column)
    if not isinstance(value, str):
        raise DataError(f"{column!r} must be text, found {value!r:.40}")
    return replace_surrogates(value)


def read_answers(record: Mapping[str, Any], column: str) -> list[str]:
    """Return a column's answers: a list, or TruthfulQA's single text separated by semicolons."""
    value = record.get(column)
    if isinstance(value, list):
        texts = cast("list[Any]", value)
        if not all(isinstance(text, str) for text in texts):
            raise DataError(f"{column!r} must be a list of texts")
        return [replace_surrogates(text).strip() for text in texts if text.strip()]
    return [part.strip() for part in read_text(record, column).split(";") if part.strip()]


def read_scores(record: Mapping[str, Any]) -> list[float]:
    """Return people's scores of a response, 0 to 1 (columns ``human_score``, ``human_score_1``,
    ...)."""
    found = [
        value for name, value in record.items() if name.startswith("human_score") and value != ""
    ]
    try:
        return [float(value) for value in found if value is not None]
    except (TypeError, ValueError) as error:
        raise DataError(f"a score is not a number: {error}") from error


def read_mean_score(record: Mapping[str, Any]) -> float:
    """Return the mean of people's scores. Raises DataError if there is none."""
    scores = read_scores(record)
    if not scores:
        raise DataError("has no score", hint="columns human_score, human_score_1...")
    return sum(scores) / len(scores)


def _parse_safe_rlhf(record: Mapping[str, Any], side: Side) -> PromptResponses:
    """Yield the unsafe responses of a record for forgetting, or the safe ones for retaining."""
    for number in (0, 1):
        safe = record.get(f"is_response_{number}_safe")
        # CSV files hold the flag as text.
        if isinstance(safe, str) and safe.casefold() in ("true", "false"):
            safe = safe.casefold() == "true"
        if not isinstance(safe, bool):
            raise DataError(f"'is_response_{number}_safe' must be true or false, found {safe!r}")
        if safe == (side == "retain"):
            yield read_text(record, "prompt"), read_text(record, f"response_{number}")


def _make_truthful_qa_parser(
    question: str, best: str, correct: str, incorrect: str
) -> Callable[[Mapping[str, Any], Side], PromptResponses]:
    """Return a parser that yields incorrect answers for forgetting, or correct ones, the best
    first, for retaining."""

    def parse_record(record: Mapping[str, Any], side: Side) -> PromptResponses:
        prompt = read_text(record, question)
        if side == "forget":
            answers = read_answers(record, incorrect)
        else:
            # The best answer is often missing from the list of correct ones; duplicates are dropped
            # below.
            first = read_text(record, best).strip() if record.get(best) else ""
            answers = [first] * bool(first) + read_answers(record, correct)
        for answer in dict.fromkeys(answers):
            yield prompt, answer

    return parse_record


def _parse_question(record: Mapping[str, Any], side: Side) -> PromptResponses:
    prompt = read_text(record, "question")
    for answer in dict.fromkeys(read_answers(record, "answer")):
        yield prompt, answer


def _make_pair_parser(
    prompt: str, response: str = ""
) -> Callable[[Mapping[str, Any], Side], PromptResponses]:
    """Return a parser for one prompt column and an optional response column."""

    def parse_record(record: Mapping[str, Any], side: Side) -> PromptResponses:
        answer = read_text(record, response) if record.get(response) is not None else ""
        yield read_text(record, prompt), answer

    return parse_record


def _parse_scored(record: Mapping[str, Any], side: Side) -> PromptResponses:
    """Yield a response if people's mean score puts it on this side."""
    if (read_mean_score(record) >= HARMFUL_SCORE) == (side == "forget"):
        yield read_text(record, "objective"), read_text(record, "assistant_response")


# The first match wins, so formats with more columns come before those with fewer.
COLUMN_FORMATS = (
    ColumnFormat(
        name="PKU-SafeRLHF",
        columns=("prompt", "response_0", "response_1", "is_response_0_safe", "is_response_1_safe"),
        parse_record=_parse_safe_rlhf,
    ),
    ColumnFormat(
        name="pairs",
        columns=("prompt", "response"),
        parse_record=_make_pair_parser("prompt", "response"),
    ),
    ColumnFormat(
        name="TruthfulQA",
        columns=("question", "correct_answers", "incorrect_answers"),
        parse_record=_make_truthful_qa_parser(
            "question", "best_answer", "correct_answers", "incorrect_answers"
        ),
    ),
    ColumnFormat(
        name="TruthfulQA's CSV",
        columns=("Question", "Correct Answers", "Incorrect Answers"),
        parse_record=_make_truthful_qa_parser(
            "Question", "Best Answer", "Correct Answers", "Incorrect Answers"
        ),
    ),
    ColumnFormat(name="questions", columns=("question", "answer"), parse_record=_parse_question),
    ColumnFormat(
        name="AdvBench", columns=("goal",), parse_record=_make_pair_parser("goal", "target")
    ),
    ColumnFormat(
        name="people's scores",
        columns=("objective", "assistant_response"),
        parse_record=_parse_scored,
    ),
    ColumnFormat(name="prompts", columns=("prompt",), parse_record=_make_pair_parser("prompt")),
    ColumnFormat(name="seed prompts", columns=("value",), parse_record=_make_pair_parser("value")),
)
