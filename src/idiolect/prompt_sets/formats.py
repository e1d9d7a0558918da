"""Which columns a record has, and what they say: one layout a known set, told by its columns.

Knows records as mappings; knows no files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from idiolect.errors import DataError
from idiolect.history.jsonl import replace_surrogates

Side = Literal["forget", "retain"]
"""What a set is for; some files hold both."""
PromptResponses = Iterator[tuple[str, str]]
"""Prompts and their responses; the response is empty where the record has none."""
HARMFUL_SCORE = 0.5
"""People's mean score, 0 to 1, from which on a response counts as harmful."""


@dataclass(frozen=True, kw_only=True)
class ColumnFormat:
    """A way to write pairs down: the columns by which it is known, and how a record is read."""

    name: str
    columns: tuple[str, ...]
    parse_record: Callable[[Mapping[str, Any], Side], PromptResponses]


def detect_format(record: Mapping[str, Any], *, file: Path, line: int) -> ColumnFormat:
    """The first layout whose columns are there; raises DataError naming those found and known."""
    for layout in COLUMN_FORMATS:
        if set(layout.columns) <= set(record):
            return layout
    known = "; ".join(f"{x.name}: {', '.join(x.columns)}" for x in COLUMN_FORMATS)
    found = ", ".join(map(str, record)) or "none"
    raise DataError(f"unknown columns: {found}", file=file, line=line, hint=f"known are {known}")


def read_text(record: Mapping[str, Any], column: str) -> str:
    """A column's text; raises DataError for anything else."""
    value = record.get(column)
    if not isinstance(value, str):
        raise DataError(f"{column!r} must be text, found {value!r:.40}")
    return replace_surrogates(value)


def read_answers(record: Mapping[str, Any], column: str) -> list[str]:
    """A column's answers: a list, or TruthfulQA's one text with semicolons between them."""
    value = record.get(column)
    if isinstance(value, list):
        texts = cast("list[Any]", value)
        if not all(isinstance(text, str) for text in texts):
            raise DataError(f"{column!r} must be a list of texts")
        return [replace_surrogates(text).strip() for text in texts if text.strip()]
    return [part.strip() for part in read_text(record, column).split(";") if part.strip()]


def read_scores(record: Mapping[str, Any]) -> list[float]:
    """What people gave a response (columns ``human_score``, ``human_score_1``, ...), 0 to 1."""
    found = [
        value for name, value in record.items() if name.startswith("human_score") and value != ""
    ]
    try:
        return [float(value) for value in found if value is not None]
    except (TypeError, ValueError) as error:
        raise DataError(f"a score is no number: {error}") from error


def read_mean_score(record: Mapping[str, Any]) -> float:
    """The mean of people's scores; raises DataError where there is none."""
    scores = read_scores(record)
    if not scores:
        raise DataError("nobody's score stands there", hint="columns human_score, human_score_1...")
    return sum(scores) / len(scores)


def _parse_safe_rlhf(record: Mapping[str, Any], side: Side) -> PromptResponses:
    for number in (0, 1):
        safe = record.get(f"is_response_{number}_safe")
        if isinstance(safe, str) and safe.casefold() in ("true", "false"):  # as CSV has it
            safe = safe.casefold() == "true"
        if not isinstance(safe, bool):
            raise DataError(f"'is_response_{number}_safe' must be true or false, found {safe!r}")
        if safe == (side == "retain"):
            yield read_text(record, "prompt"), read_text(record, f"response_{number}")


def _make_truthful_qa_parser(
    question: str, best: str, correct: str, incorrect: str
) -> Callable[[Mapping[str, Any], Side], PromptResponses]:
    def parse_record(record: Mapping[str, Any], side: Side) -> PromptResponses:
        asked = read_text(record, question)
        if side == "forget":
            answers = read_answers(record, incorrect)
        else:
            first = read_text(record, best).strip() if record.get(best) else ""
            answers = [first] * bool(first) + read_answers(record, correct)
        for answer in dict.fromkeys(answers):
            yield asked, answer

    return parse_record


def _parse_question(record: Mapping[str, Any], side: Side) -> PromptResponses:
    asked = read_text(record, "question")
    for answer in dict.fromkeys(read_answers(record, "answer")):
        yield asked, answer


def _make_pair_parser(
    prompt: str, response: str = ""
) -> Callable[[Mapping[str, Any], Side], PromptResponses]:
    def parse_record(record: Mapping[str, Any], side: Side) -> PromptResponses:
        answer = read_text(record, response) if record.get(response) is not None else ""
        yield read_text(record, prompt), answer

    return parse_record


def _parse_scored(record: Mapping[str, Any], side: Side) -> PromptResponses:
    if (read_mean_score(record) >= HARMFUL_SCORE) == (side == "forget"):
        yield read_text(record, "objective"), read_text(record, "assistant_response")


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
