"""Verdicts, names of methods and number formats of reports."""

from __future__ import annotations

from typing import Any

import pytest

from idiolect.evaluation.reports import text as words


def make_test_entry(**changes: Any) -> dict[str, Any]:
    """Return a paired test as in a report."""
    usual = {
        "metric": "mae",
        "method": "oppu",
        "against": "base",
        "people": 60,
        "gain": 0.12,
        "interval": [0.05, 0.19],
        "p": 0.002,
        "wins": 41,
        "ties": 4,
        "losses": 15,
    }
    return {**usual, **changes}


def test_write_verdict_ahead_gives_gain_and_figures() -> None:
    verdict = words.write_verdict(make_test_entry())
    assert verdict["conclusion"] == "ahead"
    assert verdict["text"] == (
        "OPPU is ahead of the base model by 0.120 MAE (95% interval 0.050 to 0.190, p = 0.002; "
        "better for 41 of 60 people, worse for 15)."
    )


def test_write_verdict_behind_gives_gain_and_figures() -> None:
    verdict = words.write_verdict(
        make_test_entry(gain=-0.12, interval=[-0.19, -0.05], against="person-mean")
    )
    assert verdict["conclusion"] == "behind"
    assert verdict["text"].startswith(
        "OPPU is behind the person's own mean by 0.120 MAE (95% interval −0.190 to −0.050"
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"p": 0.2, "interval": [-0.03, 0.2]}, "better, but chance alone"),
        ({"p": 0.2}, "better, but the interval and the rank test do not agree"),
        ({"interval": [-0.01, 0.2]}, "better, but the interval and the rank test do not agree"),
        ({"interval": [0.0, 0.2]}, "do not agree"),
        ({"p": 0.9, "gain": -0.01, "interval": [-0.1, 0.1]}, "0.010 MAE worse, but chance"),
        ({"p": 1.0, "gain": 0.0, "interval": [0.0, 0.0]}, "the same on average, but chance"),
    ],
)
def test_write_verdict_undecided_gives_reason(changes: dict[str, Any], reason: str) -> None:
    verdict = words.write_verdict(make_test_entry(**changes))
    assert verdict["conclusion"] == "undecided"
    assert verdict["text"].startswith("OPPU is not shown to differ from the base model: here it is")
    assert reason in verdict["text"]


@pytest.mark.parametrize("people", [1, 4, 9])
def test_write_verdict_with_few_people_concludes_nothing(people: int) -> None:
    verdict = words.write_verdict(make_test_entry(people=people, p=0.001))
    assert verdict["conclusion"] == "too-few"
    assert verdict["text"].startswith(
        f"{people} {'person is' if people == 1 else 'people are'} too few to conclude anything"
    )
    level = words.write_verdict(make_test_entry(people=people, gain=0.0))
    assert "exactly level with the base model" in level["text"]


def test_format_title_and_phrase_name_methods() -> None:
    assert words.format_title("oppu+rag (gated)") == "OPPU + retrieval, gated"
    assert words.format_title("oppu(gated)") == "OPPU, gated"
    assert words.format_phrase("oppu (gated)") == "OPPU with the do-no-harm gate"
    assert words.format_title("something-new") == "something-new"
    assert words.is_personal("oppu+pag") and not words.is_personal("pag")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.000"),
        (0.12345, "0.123"),
        (-0.5, "−0.500"),
        (12.345, "12.35"),
        (1234.5, "1,234.5"),
        (0.00042, "4.2e-04"),
        (-0.00042, "−4.2e-04"),
    ],
)
def test_format_number_chooses_decimals(value: float, text: str) -> None:
    assert words.format_number(value) == text


def test_format_functions_for_gains_p_values_amounts_and_durations() -> None:
    assert (words.format_gain(0.5), words.format_gain(-0.5), words.format_gain(0.0)) == (
        "+0.500",
        "−0.500",
        "0.000",
    )
    assert (words.format_p_phrase(0.0004), words.format_p_phrase(0.04)) == (
        "p < 0.001",
        "p = 0.040",
    )
    assert (words.format_p_cell(0.0004), words.format_p_cell(0.04)) == ("< 0.001", "0.040")
    assert [words.format_amount(v) for v in (12, 921_600, 1_300_000)] == [
        "12\u00a0",
        "922\u00a0k",
        "1.3\u00a0M",
    ]
    assert [words.format_duration(v) for v in (8.21, 59.96, 200, 7500)] == [
        "8.2 s",
        "1 min 0 s",
        "3 min 20 s",
        "2 h 5 min",
    ]
