"""Repeated texts are found with all their copies, and no shorter part of them is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from idiolect.audit.repeats import MIN_REPEAT_TOKENS, Place, find_repeated_texts

SECRET = (7, 1, 7, 2, 7, 3, 7)


def test_find_repeated_texts_finds_a_text_inside_different_answers() -> None:
    answers = [(20, 21, *SECRET), (30, 31, 32, 33, 34), (*SECRET, 40), (50, *SECRET, 51)]
    (found,) = find_repeated_texts(answers)
    assert found.tokens == SECRET
    assert found.places == (Place(0, 2, 9), Place(2, 0, 7), Place(3, 1, 8))


def test_find_repeated_texts_counts_equal_answers_and_copies_within_one() -> None:
    (found,) = find_repeated_texts([SECRET, SECRET, (*SECRET, 9, *SECRET)])
    assert found.places == (Place(0, 0, 7), Place(1, 0, 7), Place(2, 0, 7), Place(2, 8, 15))


def test_find_repeated_texts_reports_a_part_that_is_repeated_more_often() -> None:
    found = find_repeated_texts([(*SECRET, 8), (*SECRET, 8), (*SECRET, 9)])
    assert [(one.tokens, len(one.places)) for one in found] == [((*SECRET, 8), 2), (SECRET, 3)]


def test_find_repeated_texts_ignores_short_and_single_texts() -> None:
    short = SECRET[: MIN_REPEAT_TOKENS - 1]
    assert find_repeated_texts([(*short, 1), (*short, 2), SECRET, ()]) == []


@given(
    st.lists(st.lists(st.integers(0, 2), max_size=12), max_size=5),
)
def test_find_repeated_texts_agrees_with_comparing_all_windows(answers: list[list[int]]) -> None:
    found = find_repeated_texts(answers)
    for text in found:
        assert len(text.places) > 1
        for place in text.places:
            assert tuple(answers[place.item][place.start : place.end]) == text.tokens
    # Every short window that occurs twice lies inside a found text, at each place of it.
    size = MIN_REPEAT_TOKENS
    windows: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for item, answer in enumerate(answers):
        for at in range(len(answer) - size + 1):
            windows.setdefault(tuple(answer[at : at + size]), []).append((item, at))
    covered = {
        (p.item, at)
        for text in found
        for p in text.places
        for at in range(p.start, p.end - size + 1)
    }
    assert covered == {place for group in windows.values() if len(group) > 1 for place in group}
