"""The words of the game: which base words there are and what WordNet lists for them.

Reads the table that ships with the package (`wordnet/`); knows neither players nor scores. It is
read once; stems of a word's answers are made when they are first asked for.
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
    """Base words by relation, with what is known of each."""

    def __init__(self, rows: Mapping[tuple[Relation, str], _WordRow]) -> None:
        self._rows = rows
        self._bases = {
            relation: tuple(base for of, base in rows if of is relation) for relation in Relation
        }
        self._by_word = {base: row for (_, base), row in rows.items()}

    def base_words(self, relation: Relation) -> tuple[str, ...]:
        """All words that are asked in a relation, sorted."""
        return self._bases[relation]

    def list_answers(self, relation: Relation, base: str) -> tuple[str, ...]:
        """What WordNet lists for a base word, the best known first; nothing for another word."""
        row = self._rows.get((relation, base))
        return tuple(row.answers.split(_SEPARATOR)) if row else ()

    @lru_cache(maxsize=4096)  # noqa: B019 - there is one table, and it stays
    def get_stems(self, relation: Relation, base: str) -> frozenset[str]:
        """The stems of what WordNet lists, without the base word's own."""
        return frozenset(map(stem, self.list_answers(relation, base))) - {stem(base), ""}

    def get_determiner(self, base: str) -> str:
        """ "a", "an", "the", or "" where the word takes none or is not in the table."""
        row = self._by_word.get(base)
        return row.determiner if row else ""

    def get_difficulty_prior(self, relation: Relation, base: str) -> float:
        """Difficulty from 0 to 1 as far as words alone tell. Raises MissingError."""
        return self._get_row(relation, base).prior

    def is_concrete(self, base: str) -> bool:
        """Whether it chiefly names what can be touched. Raises MissingError."""
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
    """The table of the package. Raises IntegrityError where it is broken."""
    text = resources.files("idiolect.game.wordnet").joinpath("table.tsv").read_text("utf-8")
    rows: dict[tuple[Relation, str], _WordRow] = {}
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
                f"line {number} of the table of words is broken: {line[:60]!r}; install again"
            ) from error
    return WordTable(rows)
