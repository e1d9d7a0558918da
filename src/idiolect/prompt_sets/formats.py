"""Which columns a record has, and what they say: one layout a known set, told by its columns.

Knows records as mappings; knows no files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from idiolect.errors import DataError
from idiolect.history.jsonl import whole_text

Side = Literal["forget", "retain"]
"""What a set is for; some files hold both."""
Texts = Iterator[tuple[str, str]]
"""Prompts and their responses; the response is empty where the record has none."""
HARMFUL = 0.5
"""People's mean score, 0 to 1, from which on a response counts as harmful."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A way to write pairs down: the columns by which it is known, and how a record is read."""

    name: str
    columns: tuple[str, ...]
    pairs: Callable[[Mapping[str, Any], Side], Texts]


def layout_of(record: Mapping[str, Any], *, file: Path, line: int) -> Layout:
    """The first layout whose columns are there; raises DataError naming those found and known."""
    for layout in LAYOUTS:
        if set(layout.columns) <= set(record):
            return layout
    known = "; ".join(f"{x.name}: {', '.join(x.columns)}" for x in LAYOUTS)
    found = ", ".join(map(str, record)) or "none"
    raise DataError(f"unknown columns: {found}", file=file, line=line, hint=f"known are {known}")


def text_of(record: Mapping[str, Any], column: str) -> str:
    """A column's text; raises DataError for anything else."""
    value = record.get(column)
    if not isinstance(value, str):
        raise DataError(f"{column!r} must be text, found {value!r:.40}")
    return whole_text(value)


def answers_of(record: Mapping[str, Any], column: str) -> list[str]:
    """A column's answers: a list, or TruthfulQA's one text with semicolons between them."""
    value = record.get(column)
    if isinstance(value, list):
        texts = cast("list[Any]", value)
        if not all(isinstance(text, str) for text in texts):
            raise DataError(f"{column!r} must be a list of texts")
        return [whole_text(text).strip() for text in texts if text.strip()]
    return [part.strip() for part in text_of(record, column).split(";") if part.strip()]


def scores_of(record: Mapping[str, Any]) -> list[float]:
    """What people gave a response (columns ``human_score``, ``human_score_1``, ...), 0 to 1."""
    found = [
        value for name, value in record.items() if name.startswith("human_score") and value != ""
    ]
    try:
        return [float(value) for value in found if value is not None]
    except (TypeError, ValueError) as error:
        raise DataError(f"a score is no number: {error}") from error


def score_of(record: Mapping[str, Any]) -> float:
    """The mean of people's scores; raises DataError where there is none."""
    scores = scores_of(record)
    if not scores:
        raise DataError("nobody's score stands there", hint="columns human_score, human_score_1...")
    return sum(scores) / len(scores)


def _safe_rlhf(record: Mapping[str, Any], side: Side) -> Texts:
    for number in (0, 1):
        safe = record.get(f"is_response_{number}_safe")
        if isinstance(safe, str) and safe.casefold() in ("true", "false"):  # as CSV has it
            safe = safe.casefold() == "true"
        if not isinstance(safe, bool):
            raise DataError(f"'is_response_{number}_safe' must be true or false, found {safe!r}")
        if safe == (side == "retain"):
            yield text_of(record, "prompt"), text_of(record, f"response_{number}")


def _truthful(
    question: str, best: str, correct: str, incorrect: str
) -> Callable[[Mapping[str, Any], Side], Texts]:
    def pairs(record: Mapping[str, Any], side: Side) -> Texts:
        asked = text_of(record, question)
        if side == "forget":
            answers = answers_of(record, incorrect)
        else:
            first = text_of(record, best).strip() if record.get(best) else ""
            answers = [first] * bool(first) + answers_of(record, correct)
        for answer in dict.fromkeys(answers):
            yield asked, answer

    return pairs


def _question(record: Mapping[str, Any], side: Side) -> Texts:
    asked = text_of(record, "question")
    for answer in dict.fromkeys(answers_of(record, "answer")):
        yield asked, answer


def _plain(prompt: str, response: str = "") -> Callable[[Mapping[str, Any], Side], Texts]:
    def pairs(record: Mapping[str, Any], side: Side) -> Texts:
        answer = text_of(record, response) if record.get(response) is not None else ""
        yield text_of(record, prompt), answer

    return pairs


def _scored(record: Mapping[str, Any], side: Side) -> Texts:
    if (score_of(record) >= HARMFUL) == (side == "forget"):
        yield text_of(record, "objective"), text_of(record, "assistant_response")


LAYOUTS = (
    Layout(
        name="PKU-SafeRLHF",
        columns=("prompt", "response_0", "response_1", "is_response_0_safe", "is_response_1_safe"),
        pairs=_safe_rlhf,
    ),
    Layout(name="pairs", columns=("prompt", "response"), pairs=_plain("prompt", "response")),
    Layout(
        name="TruthfulQA",
        columns=("question", "correct_answers", "incorrect_answers"),
        pairs=_truthful("question", "best_answer", "correct_answers", "incorrect_answers"),
    ),
    Layout(
        name="TruthfulQA's CSV",
        columns=("Question", "Correct Answers", "Incorrect Answers"),
        pairs=_truthful("Question", "Best Answer", "Correct Answers", "Incorrect Answers"),
    ),
    Layout(name="questions", columns=("question", "answer"), pairs=_question),
    Layout(name="AdvBench", columns=("goal",), pairs=_plain("goal", "target")),
    Layout(name="people's scores", columns=("objective", "assistant_response"), pairs=_scored),
    Layout(name="prompts", columns=("prompt",), pairs=_plain("prompt")),
    Layout(name="seed prompts", columns=("value",), pairs=_plain("value")),
)
