"""The word table: the base words of the game, and the answers that WordNet lists for each.

Reads `wordnet/table.tsv`, which ships with the package, once per process. Does not depend on
players or scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import resources

from idiolect.errors import IntegrityError, MissingError
from idiolect.game.rules.answers import stem
from idiolect.game.rules.relations import Relation

_SEPARATOR = "|"


@dataclass(frozen=True, slots=True, kw_only=True)
class _WordRow:
    determiner: str
    concrete: bool
    prior: float
    answers: str


class WordTable:
    """The base words of each relation, with their determiners, difficulties and listed answers."""

    def __init__(self, rows: Mapping[tuple[Relation, str], _WordRow]) -> None:
        self._rows = rows
        self._bases = {
            relation: tuple(base for of, base in rows if of is relation) for relation in Relation
        }
        # Determiner and concreteness of a word are the same in every relation.
        self._by_word = {base: row for (_, base), row in rows.items()}

    def base_words(self, relation: Relation) -> tuple[str, ...]:
        """All base words of a relation, sorted."""
        return self._bases[relation]

    def list_answers(self, relation: Relation, base: str) -> tuple[str, ...]:
        """The answers that WordNet lists for a base word, best known first; () for other words."""
        row = self._rows.get((relation, base))
        return tuple(row.answers.split(_SEPARATOR)) if row else ()

    @lru_cache(maxsize=4096)  # noqa: B019 - the process has one table and never drops it
    def get_stems(self, relation: Relation, base: str) -> frozenset[str]:
        """The stems of the listed answers, without the stem of the base word."""
        return frozenset(map(stem, self.list_answers(relation, base))) - {stem(base), ""}

    def get_determiner(self, base: str) -> str:
        """ "a", "an", "the", or "" if the word takes no determiner or is not in the table."""
        row = self._by_word.get(base)
        return row.determiner if row else ""

    def get_difficulty_prior(self, relation: Relation, base: str) -> float:
        """The difficulty in (0, 1) before any round is played, estimated from WordNet and word
        frequencies. Raises MissingError if the table has no such base word."""
        return self._get_row(relation, base).prior

    def is_concrete(self, base: str) -> bool:
        """Whether the word mainly names something that can be touched. Raises MissingError if it
        is not a base word."""
        if base not in self._by_word:
            raise MissingError(f"{base!r} is not a base word of the game")
        return self._by_word[base].concrete

    def _get_row(self, relation: Relation, base: str) -> _WordRow:
        row = self._rows.get((relation, base))
        if row is None:
            raise MissingError(f"{base!r} is not a base word of {relation.value}")
        return row


@cache
def load_table() -> WordTable:
    """The table of the package. Raises IntegrityError if a line of it is malformed."""
    text = resources.files("idiolect.game.wordnet").joinpath("table.tsv").read_text("utf-8")
    rows: dict[tuple[Relation, str], _WordRow] = {}
    # Line 1 holds the column names.
    for number, line in enumerate(text.splitlines()[1:], start=2):
        try:
            relation, base, determiner, concrete, prior, answers = line.split("\t")
            rows[Relation(relation), base] = _WordRow(
                determiner=determiner,
                concrete=concrete == "1",
                prior=float(prior),
                answers=answers,
            )
        except ValueError as error:
            raise IntegrityError(
                f"line {number} of the word table (wordnet/table.tsv) is malformed: "
                f"{line[:60]!r}; reinstall idiolect"
            ) from error
    return WordTable(rows)
