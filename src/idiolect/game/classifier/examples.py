"""Labeled pairs for training and evaluation: true pairs, and sampled false ones.

A classifier could learn which answers are typical parts ("handle") and ignore the base word (Levy
et al., NAACL 2015). Therefore false pairs consist of the same words as the true ones.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from idiolect.config import derive_seed
from idiolect.game.export.pairs import MIN_PLAYERS, PairRow
from idiolect.game.rules.answers import stem
from idiolect.game.rules.relations import Relation
from idiolect.game.words import WordTable

Lexicon = Mapping[str, Mapping[str, Sequence[str]]]
"""Relation -> base word -> its true answers, best known first."""
MAX_FAMILIAR_ANSWERS = 12
"""Number of best-known answers per base word that examples use; players do not give the rest."""
PairOrigin = Literal["related", "other word", "other relation", "reversed", "rejected"]
_MAX_TRIES = 20
"""Draws per false pair before giving up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A base word and an answer, labeled with whether the relation holds between them."""

    relation: str
    base_word: str
    answer: str
    related: bool
    origin: PairOrigin = "related"
    """Where the pair comes from. False pairs: the answer belongs to another base word or to another
    relation of this word, the pair is reversed, or players rejected it."""

    @property
    def word_pair(self) -> tuple[str, str]:
        """(base word, answer)."""
        return self.base_word, self.answer


PairCheck = Callable[[str, str, str], bool]


class KnownPairs:
    """A predicate (relation, base word, answer): whether the pair is known to hold, by stems.

    Pairs with the same stem count as the same. Stems are computed per base word on first use.
    """

    def __init__(self, lexicon: Lexicon, game: Iterable[PairRow] = ()) -> None:
        self._lexicon = lexicon
        self._game: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._stems: dict[tuple[str, str], frozenset[str]] = {}
        for row in game:
            self._game[row.relation, row.base_word].add(stem(row.answer))

    def __call__(self, relation: str, base_word: str, answer: str) -> bool:
        at = relation, base_word
        if at not in self._stems:
            listed = self._lexicon[relation].get(base_word, ())
            # The base word counts as known, so that it never becomes its own false answer.
            own = {stem(base_word), *self._game.get(at, ())}
            self._stems[at] = frozenset(own | set(map(stem, listed)))
        return stem(answer) in self._stems[at]


def build_lexicon(words: WordTable) -> Lexicon:
    """The word table of the game as a lexicon."""
    return {
        relation.value: {
            base: words.list_answers(relation, base) for base in words.base_words(relation)
        }
        for relation in Relation
    }


def assign_bucket(word: str, seed: int, parts: int = 100) -> int:
    """The bucket, from 0 to ``parts - 1``, of a base word; it depends only on word and seed."""
    return derive_seed(seed, "side", stem(word)) % parts


def from_lexicon(lexicon: Lexicon, relation: str, *, per_word: int, seed: int) -> list[Example]:
    """True pairs of a relation in random order, at most ``per_word`` per base word."""
    draw = random.Random(derive_seed(seed, "pairs", relation))
    chosen: list[Example] = []
    # Sorted, so that the draws do not depend on the order of the mapping.
    for base_word, answers in sorted(lexicon[relation].items()):
        familiar = answers[:MAX_FAMILIAR_ANSWERS]
        some = draw.sample(familiar, min(per_word, len(familiar)))
        chosen += [
            Example(relation=relation, base_word=base_word, answer=answer, related=True)
            for answer in some
        ]
    draw.shuffle(chosen)
    return chosen


def from_game(rows: Iterable[PairRow], relation: str) -> list[Example]:
    """Labeled pairs of a relation from the game.

    A pair is false if at least `MIN_PLAYERS` players voted and most of them rejected it. Otherwise
    it is true if at least `MIN_PLAYERS` players gave it, or voted and mostly confirmed it. Other
    pairs are left out.
    """
    found: list[Example] = []
    for row in rows:
        # A majority of rejections outweighs the players who gave the answer.
        votes = row.confirmed + row.rejected
        rejected = votes >= MIN_PLAYERS and row.rejected > row.confirmed
        given = row.players >= MIN_PLAYERS
        confirmed = votes >= MIN_PLAYERS and row.confirmed > row.rejected
        if row.relation == relation and (rejected or given or confirmed):
            found.append(
                Example(
                    relation=relation,
                    base_word=row.base_word,
                    answer=row.answer,
                    related=not rejected,
                    origin="rejected" if rejected else "related",
                )
            )
    return found


def add_false_pairs(
    true: Sequence[Example],
    known: PairCheck,
    lexicon: Lexicon,
    *,
    seed: int,
    part: Callable[[str], str] = lambda word: "",
) -> list[Example]:
    """The true pairs, each followed by a false pair; true pairs without one are left out.

    Half of the false pairs have an answer of another base word, drawn from ``true``. A quarter
    are the true pair reversed, and a quarter have the same base word and an answer of another
    relation; if that fails, they have an answer of another base word too. ``part`` names the split
    of a base word: a pair is reversed only if both words are in the same split.
    """
    pairs: list[Example] = []
    for number, example in enumerate(true):
        # A generator per pair: a false pair does not depend on the number of pairs before it.
        draw = random.Random(derive_seed(seed, "false", example.relation, *example.word_pair))
        strategies = [
            _pair_with_other_word,
            _reverse_pair,
            _pair_with_other_word,
            _pair_with_other_relation,
        ]
        # Try the strategies in turn; then fall back on the one that nearly always succeeds.
        for strategy in (strategies[number % len(strategies)], _pair_with_other_word):
            false = strategy(example, true, known, lexicon, draw)
            if false is not None and part(false.base_word) == part(example.base_word):
                pairs += [example, false]
                break
    return pairs


def _make_false_pair(like: Example, origin: PairOrigin, base_word: str, answer: str) -> Example:
    return Example(
        relation=like.relation, base_word=base_word, answer=answer, related=False, origin=origin
    )


def _pair_with_other_word(
    example: Example,
    true: Sequence[Example],
    known: PairCheck,
    lexicon: Lexicon,
    draw: random.Random,
) -> Example | None:
    for _ in range(_MAX_TRIES):
        answer = draw.choice(true).answer
        if not known(example.relation, example.base_word, answer):
            return _make_false_pair(example, "other word", example.base_word, answer)
    return None


def _reverse_pair(
    example: Example,
    true: Sequence[Example],
    known: PairCheck,
    lexicon: Lexicon,
    draw: random.Random,
) -> Example | None:
    if known(example.relation, example.answer, example.base_word):
        return None
    return _make_false_pair(example, "reversed", example.answer, example.base_word)


def _pair_with_other_relation(
    example: Example,
    true: Sequence[Example],
    known: PairCheck,
    lexicon: Lexicon,
    draw: random.Random,
) -> Example | None:
    others = [
        answer
        for relation in sorted(lexicon)
        if relation != example.relation
        for answer in lexicon[relation].get(example.base_word, ())[:MAX_FAMILIAR_ANSWERS]
        if not known(example.relation, example.base_word, answer)
    ]
    if not others:
        return None
    return _make_false_pair(example, "other relation", example.base_word, draw.choice(others))
