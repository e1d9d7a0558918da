"""Normalizing, stemming and filtering of typed answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.game.rules.answers import MAX_CHARS, filter_accepted, normalize_answer, stem
from idiolect.game.rules.relations import MAX_ANSWERS


def test_filter_accepted_stops_at_max_answers() -> None:
    def yield_answers():
        for number in range(10_000):
            yield f"fish number {number}"
        raise AssertionError("filter_accepted must not read all answers")

    assert len(filter_accepted("seafood", yield_answers())) == MAX_ANSWERS


def test_normalize_answer_truncates_long_text() -> None:
    assert normalize_answer("x" * 2**20) == "x" * MAX_CHARS


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("  Ice\t Cream ", "ice cream"),
        ("«Fish!»", "fish"),
        ("\uff26\uff29\uff33\uff28", "fish"),
        ("lady\u2019s finger", "lady's finger"),
        ("a\x00b", "ab"),
        ("\ud800", ""),
        ("...", ""),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("'; DROP TABLE answers; --", "drop table answers"),
        ("CO\u2082", "co2"),
        ("e\u0301clair", "\u00e9clair"),
    ],
)
def test_normalize_answer_returns_stored_form(typed: str, kept: str) -> None:
    assert normalize_answer(typed) == kept


def test_stem_is_no_longer_than_max_chars() -> None:
    assert len(stem("ova " * 13)) <= MAX_CHARS


def test_stem_ignores_hyphens_articles_and_possessives() -> None:
    assert stem("Ice-Creams") == stem("the ice cream") == stem("ice  cream's")
    assert stem("a") == "a"
    assert stem("some") == "some"


@given(st.text(max_size=300))
def test_normalize_answer_is_idempotent(text: str) -> None:
    once = normalize_answer(text)
    assert normalize_answer(once) == once
    assert len(once) <= MAX_CHARS
    assert once == once.strip()
    assert stem(text) == stem(once) == stem(once).strip()
    assert len(stem(once)) <= MAX_CHARS
    once.encode("utf-8")
