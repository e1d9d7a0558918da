"""The word table as rows and as TSV text, without file access."""

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
"""Range of the prior difficulties; played rounds soon outweigh them
(`rules.choice.estimate_difficulty`)."""
MIN_COMMON_FREQUENCY = 3.0
"""Minimum Zipf frequency of a common answer: once in a million words."""


@dataclass(frozen=True, kw_only=True)
class TableRow:
    """A base word of one relation, with its answers best known first."""

    relation: Relation
    base: str
    determiner: str
    concrete: bool
    answers: tuple[str, ...]
    common: int
    """Number of common answers (`MIN_COMMON_FREQUENCY`)."""


def iter_rows(
    words: BaseWordSelector, wordnet: WordNet, frequency: Frequency
) -> Iterator[TableRow]:
    """Yield the base words of all relations, in table order, with answers from ``wordnet``."""

    def estimate_familiarity(answer: str) -> float:
        # wordfreq estimates phrases from their words, and estimates too high ("toy manchester"):
        # take off one unit per additional word.
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
    """Prior difficulty of each row, by its rank within the relation.

    The fewer common answers a word has, the harder it is. Rows with equal numbers share their mean
    rank.
    """
    out: list[float] = []
    common = {
        relation: sorted(row.common for row in found if row.relation is relation)
        for relation in Relation
    }
    for row in found:
        counts = common[row.relation]
        # Mean rank of the rows with this number of common answers.
        below = (bisect_left(counts, row.common) + bisect_right(counts, row.common)) / 2
        out.append(HARDEST - (HARDEST - EASIEST) * below / len(counts))
    return out


def format_table(found: Sequence[TableRow]) -> str:
    """The table as TSV: a line of column names, then one line per row."""
    lines = ["\t".join(COLUMNS)]
    for row, hard in zip(found, estimate_difficulties(found), strict=True):
        concrete = "1" if row.concrete else "0"
        cells = (row.relation, row.base, row.determiner, concrete, f"{hard:.2f}")
        lines.append("\t".join((*cells, "|".join(row.answers))))
    return "\n".join(lines) + "\n"
