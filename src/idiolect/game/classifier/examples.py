"""Labelled pairs to learn from and to be judged on: what holds, and what was sampled against it.

Knows words and relations; knows no features. A classifier that sees only answers can learn which
words make good parts ("handle") without a look at the base word (Levy et al., NAACL 2015); so false
pairs are made of the very words that true ones have.
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
"""Relation -> base word -> the answers that hold, the best known first."""
MAX_FAMILIAR_ANSWERS = 12
"""Answers of a base word, the best known ones, that examples are made of: nobody plays the rest."""
PairOrigin = Literal["related", "other word", "other relation", "reversed", "rejected"]
_MAX_TRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A base word, an answer, and whether the relation holds between them."""

    relation: str
    base_word: str
    answer: str
    related: bool
    how: PairOrigin = "related"
    """Why it is false: the answer is another base word's, or this word's in another relation, or
    the pair the wrong way round, or players rejected it."""

    @property
    def word_pair(self) -> tuple[str, str]:
        """Base word and answer."""
        return self.base_word, self.answer


PairCheck = Callable[[str, str, str], bool]


class KnownPairs:
    """Which pairs are known to hold, by stems; those of a base word are made when asked for."""

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
            own = {stem(base_word), *self._game.get(at, ())}
            self._stems[at] = frozenset(own | set(map(stem, listed)))
        return stem(answer) in self._stems[at]


def build_lexicon(words: WordTable) -> Lexicon:
    """The game's own table of WordNet's pairs."""
    return {
        relation.value: {
            base: words.list_answers(relation, base) for base in words.base_words(relation)
        }
        for relation in Relation
    }


def assign_bucket(word: str, seed: int, parts: int = 100) -> int:
    """Which of so many parts a base word belongs to, whatever other words there are."""
    return derive_seed(seed, "side", stem(word)) % parts


def from_lexicon(lexicon: Lexicon, relation: str, *, a_word: int, seed: int) -> list[Example]:
    """True pairs in an order drawn at random, at most ``a_word`` of one base word."""
    draw = random.Random(derive_seed(seed, "pairs", relation))
    chosen: list[Example] = []
    for base_word, answers in sorted(lexicon[relation].items()):
        familiar = answers[:MAX_FAMILIAR_ANSWERS]
        some = draw.sample(familiar, min(a_word, len(familiar)))
        chosen += [
            Example(relation=relation, base_word=base_word, answer=answer, related=True)
            for answer in some
        ]
    draw.shuffle(chosen)
    return chosen


def from_game(rows: Iterable[PairRow], relation: str) -> list[Example]:
    """What players say: true where enough gave it and no majority rejects it, false where a
    majority of at least so many does."""
    found: list[Example] = []
    for row in rows:
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
                    how="rejected" if rejected else "related",
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
    """The true pairs, each followed by a false one.

    Half of the false ones have another base word's answer, as common an answer as any; the others
    are the pair reversed, or the same word with an answer of another relation, where there is such
    a pair. ``part`` keeps the split: a pair is reversed only where both words are in one part.
    """
    made: list[Example] = []
    for place, example in enumerate(true):
        draw = random.Random(derive_seed(seed, "false", example.relation, *example.word_pair))
        ways = [
            _pair_with_other_word,
            _reverse_pair,
            _pair_with_other_word,
            _pair_with_other_relation,
        ]
        for way in (ways[place % len(ways)], _pair_with_other_word):
            false = way(example, true, known, lexicon, draw)
            if false is not None and part(false.base_word) == part(example.base_word):
                made += [example, false]
                break
    return made


def _make_false_pair(like: Example, how: PairOrigin, base_word: str, answer: str) -> Example:
    return Example(
        relation=like.relation, base_word=base_word, answer=answer, related=False, how=how
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
