"""The table of base words and answers as rows and as text; knows rules and WordNet, no files."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from idiolect.game.rules.relations import Relation
from idiolect.game.wordnet.base_words import BaseWordSelector, Frequency
from idiolect.game.wordnet.database import WordNet
from idiolect.game.wordnet.determiners import choose_determiner
from idiolect.game.wordnet.relations import find_related

COLUMNS = ("relation", "base word", "determiner", "concrete", "difficulty", "answers")
EASIEST, HARDEST = 0.3, 0.7
"""Difficulties known beforehand; rounds soon outweigh them (`rules.difficulty`)."""
MIN_COMMON_FREQUENCY = 3.0
"""Zipf frequency of answers that come to mind: once in a million words."""


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A base word of one relation; its answers with the best known first."""

    relation: Relation
    base: str
    determiner: str
    concrete: bool
    answers: tuple[str, ...]
    common: int
    """How many of the answers come to mind."""


def iter_rows(
    words: BaseWordSelector, wordnet: WordNet, frequency: Frequency
) -> Iterator[TableRow]:
    """All base words of all relations, in order; answers come from ``wordnet``."""

    def estimate_familiarity(answer: str) -> float:
        # Frequencies of phrases are guessed from those of their words, too high: "toy manchester".
        return frequency(answer) - len(answer.split()) + 1

    candidates = words.list_candidates()
    for relation in Relation:
        for base in candidates:
            answers = find_related(wordnet, relation, base)
            if words.is_asked(relation, base, answers):
                yield TableRow(
                    relation=relation,
                    base=base,
                    determiner=choose_determiner(base, words),
                    concrete=words.is_concrete(base),
                    answers=tuple(
                        sorted(answers, key=lambda word: (-estimate_familiarity(word), word))
                    ),
                    common=sum(frequency(answer) >= MIN_COMMON_FREQUENCY for answer in answers),
                )


def estimate_difficulties(found: Sequence[TableRow]) -> list[float]:
    """How hard each word seems among those of its relation: the fewer answers come to mind, the
    harder; the middle of those with equally many."""
    out: list[float] = []
    common = {
        relation: sorted(row.common for row in found if row.relation is relation)
        for relation in Relation
    }
    for row in found:
        counts = common[row.relation]
        below = (bisect_left(counts, row.common) + bisect_right(counts, row.common)) / 2
        out.append(HARDEST - (HARDEST - EASIEST) * below / len(counts))
    return out


def format_table(found: Sequence[TableRow]) -> str:
    """The table as text: a line of column names, then a line a row."""
    lines = ["\t".join(COLUMNS)]
    for row, hard in zip(found, estimate_difficulties(found), strict=True):
        concrete = "1" if row.concrete else "0"
        cells = (row.relation, row.base, row.determiner, concrete, f"{hard:.2f}")
        lines.append("\t".join((*cells, "|".join(row.answers))))
    return "\n".join(lines) + "\n"
