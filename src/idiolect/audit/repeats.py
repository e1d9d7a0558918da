"""Texts that occur several times in a person's answers, also inside different answers.

Duplicates are what models memorize first (Lee et al., arXiv 2107.06499; Carlini et al., arXiv
2202.07646, section 5.2: extraction grows with the number of copies). So an audit must weight a
repeated text by its copies, not count it as one item of many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

MIN_REPEAT_TOKENS = 5
"""Shorter texts (`I don't know`) are repeated by most people."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a text is: the number of the answer, and its tokens from ``start`` to ``end``."""

    item: int
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedText:
    """A text that occurs at least twice."""

    tokens: tuple[int, ...]
    places: tuple[Place, ...]


def find_repeated_texts(answers: Sequence[Sequence[int]]) -> list[RepeatedText]:
    """Return the repeated texts of at least ``MIN_REPEAT_TOKENS`` tokens, longest first.

    A text is left out if all its copies lie inside copies of a longer repeated text.
    """
    size = MIN_REPEAT_TOKENS
    # Every short window of every answer, with where it starts.
    starts: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for item, answer in enumerate(answers):
        for at in range(len(answer) - size + 1):
            starts.setdefault(tuple(answer[at : at + size]), []).append((item, at))
    found: list[RepeatedText] = []
    covered: set[tuple[int, int]] = set()
    # Windows come in the order of the texts, so the first one of a repeated text starts it.
    for group in starts.values():
        if len(group) > 1 and not covered.issuperset(group):
            found += _extend_group(answers, group, covered)
    return sorted(found, key=lambda one: (-len(one.tokens), one.places))


def _extend_group(
    answers: Sequence[Sequence[int]],
    group: list[tuple[int, int]],
    covered: set[tuple[int, int]],
) -> list[RepeatedText]:
    """Extend a window to the right as long as two copies agree; return a text for each number of
    copies."""
    size = length = MIN_REPEAT_TOKENS
    found: list[RepeatedText] = []
    while len(group) > 1:
        following = Counter(
            answers[item][at + length] for item, at in group if at + length < len(answers[item])
        )
        token, count = following.most_common(1)[0] if following else (-1, 0)
        # Some copies end here: this is the text that all of them share.
        if count < len(group):
            item, at = group[0]
            found.append(
                RepeatedText(
                    tokens=tuple(answers[item][at : at + length]),
                    places=tuple(Place(i, start, start + length) for i, start in group),
                )
            )
            covered |= {(i, s + n) for i, s in group for n in range(length - size + 1)}
            group = [
                (i, s) for i, s in group if list(answers[i][s + length : s + length + 1]) == [token]
            ]
        length += 1
    return found
