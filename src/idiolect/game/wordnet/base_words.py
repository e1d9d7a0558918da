"""Which words are asked: rules on WordNet and on how frequent words are.

A base word is one plain word (three or more letters, lower case) that people know (`KNOWN`):

* no function word (frequent, yet never tagged as a word of content in WordNet's texts), no rude
  word in any of its senses (`rude`, and whatever list is passed in), nothing from a field that is
  no game (`NO_GAME`), and no plural of a noun that is more frequent ("cows");
* no name: neither in the first sense of a part of speech, nor in most senses, nor in disguise
  ("holly": a noun never tagged whose plural is hardly used);
* kinds and parts are asked of words that are chiefly nouns and not too general: kinds of abstract
  ones only where they are few (`ABSTRACT_KINDS`) and not of actions in "-ing"; parts only of what
  is concrete, not of people;
* WordNet has enough answers that people know, and not so many that anything would do (`ENOUGH`).

All numbers were chosen by reading the lists they give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from idiolect.game.rules.relations import Relation
from idiolect.game.wordnet.database import Synset, WordNet
from idiolect.game.wordnet.plurals import list_plurals
from idiolect.game.wordnet.relations import find_closure, measure_depth
from idiolect.game.wordnet.rude import find_offensive_synsets

Frequency = Callable[[str], float]
"""A word's Zipf frequency: the decimal logarithm of its count in a billion words."""

MIN_WORD_FREQUENCY = 3.2
"""From here on words count as known: once or twice in a million words."""
MIN_ANSWER_FREQUENCY = 2.5
"""Known answers may be rarer, since players need not think of each."""
FUNCTION_WORD_FREQUENCY = 4.5
"""A word of content that is so frequent was met in WordNet's tagged texts."""
MIN_NOUN_DEPTH = 4
"""Nouns with fewer steps to the top ("thing", "whole") are too general to have kinds or parts."""
MAX_ABSTRACT_KINDS = 300
"""Abstract words with more kinds than that ("condition", "process") are too general."""

ANSWER_COUNT_RANGES: Mapping[Relation, tuple[int, int]] = {
    Relation.SYNONYMS: (3, 60),
    Relation.ANTONYMS: (1, 60),
    Relation.HYPONYMS: (8, 4000),
    Relation.MERONYMS: (4, 1000),
}
"""Fewest known answers of a base word, and most answers."""

EXCLUDED_NOUNS = (
    "sexual activity",
    "sex crime",
    "genitalia",
    "prostitute",
    "brothel",
    "excrement",
    "suicide",
    "slavery",
    "killing",
)
"""Nouns of whose first sense no kind is asked, whatever else the word means."""

INSULT_NOUNS = ("unpleasant person", "simpleton")
"""Likewise, but only words that mean it in the first place: "git", not "dog"."""

MIN_PLURAL_RARITY = 1.5
"""How much rarer the plural of a name in disguise is, in decimal logarithms."""

CONCRETE_NOUNS = ("physical object", "matter", "person")
"""Nouns whose first sense is an object, a substance or a being, and all kinds of it."""


_PLURAL_ENDINGS = (("ies", "y"), ("es", ""), ("s", ""))


class BaseWordSelector:
    """Judges words by WordNet, their frequency, irregular plurals, and a list of rude words."""

    def __init__(
        self,
        wordnet: WordNet,
        *,
        frequency: Frequency,
        irregular: Mapping[str, Sequence[str]],
        is_rude: Callable[[str], bool],
    ) -> None:
        self._wordnet = wordnet
        self._frequency = frequency
        self._irregular = irregular
        self._plural_of = {form: noun for noun, forms in irregular.items() for form in forms}
        self._is_rude = is_rude
        self._rude = set(find_offensive_synsets(wordnet))

    def list_candidates(self) -> tuple[str, ...]:
        """Words that may be asked in some relation, sorted."""
        lemmas = {lemma for lemma, _ in self._wordnet.senses}
        return tuple(sorted(lemma for lemma in lemmas if self._is_fit(lemma)))

    def is_asked(self, relation: Relation, base: str, answers: Sequence[str]) -> bool:
        """Whether a candidate is asked in this relation, where WordNet has these answers."""
        fewest, most = ANSWER_COUNT_RANGES[relation]
        if self.count_known(answers) < fewest or len(answers) > most:
            return False
        match relation:
            case Relation.SYNONYMS | Relation.ANTONYMS:
                return True
            case Relation.HYPONYMS:
                few = len(answers) <= MAX_ABSTRACT_KINDS and not base.endswith("ing")
                return self._is_particular(base) and (few or self.is_concrete(base))
            case Relation.MERONYMS:
                thing = self.is_concrete(base) and not self.is_a(base, "person")
                return thing and self._is_particular(base)

    def count_known(self, answers: Sequence[str]) -> int:
        """How many of the answers people know."""
        return sum(self._frequency(answer) >= MIN_ANSWER_FREQUENCY for answer in answers)

    def is_noun(self, word: str) -> bool:
        """Whether it is chiefly a noun: most of the times it was tagged, or in most of its senses
        where it never was."""
        counts = self._wordnet.tag_counts
        total = sum(counts.get((word, part), 0) for part in "nvar")
        if total:
            return counts.get((word, "n"), 0) > total / 2
        return 2 * len(self._wordnet.find_synsets(word, "n")) > len(
            self._wordnet.find_synsets(word)
        )

    def is_concrete(self, word: str) -> bool:
        """Whether it is chiefly a noun whose first sense can be touched (`CONCRETE`)."""
        return self.is_noun(word) and self.is_a(word, *CONCRETE_NOUNS)

    def is_a(self, noun: str, *kinds: str) -> bool:
        """Whether the noun's first sense is a kind of one of these nouns' first senses."""
        return any(self._get_first_sense(kind).id in self._find_hypernyms(noun) for kind in kinds)

    def is_plural(self, word: str) -> bool:
        """Whether it is the plural of another noun ("pants")."""
        return self._find_singular(word) is not None

    def measure_plural_rarity(self, noun: str) -> float:
        """By how much its most frequent plural is less frequent, in decimal logarithms."""
        forms = list_plurals(noun, self._irregular)
        return self._frequency(noun) - max(self._frequency(form) for form in forms)

    def _find_singular(self, word: str) -> str | None:
        cut = [word[: -len(end)] + new for end, new in _PLURAL_ENDINGS if word.endswith(end)]
        forms = [form for form in (self._plural_of.get(word), *cut) if form]
        known = (form for form in forms if (form, "n") in self._wordnet.senses and form != word)
        return next(known, None)

    def _find_hypernyms(self, noun: str) -> set[str]:
        return find_closure(self._wordnet, self._get_first_sense(noun).id, "@", "@i")

    def _get_first_sense(self, noun: str) -> Synset:
        return self._wordnet.find_synsets(noun, "n")[0]

    def _is_particular(self, word: str) -> bool:
        return (
            self.is_noun(word)
            and measure_depth(self._wordnet, self._get_first_sense(word).id) >= MIN_NOUN_DEPTH
        )

    @cached_property
    def _excluded_synsets(self) -> set[str]:
        return self._rude.union(
            *(
                find_closure(self._wordnet, self._get_first_sense(noun).id, "~", "~i")
                for noun in EXCLUDED_NOUNS
            )
        )

    def _is_fit(self, lemma: str) -> bool:
        if not (lemma.isascii() and lemma.isalpha() and len(lemma) >= 3):
            return False
        if self._frequency(lemma) < MIN_WORD_FREQUENCY or self._is_function_word(lemma):
            return False
        singular = self._find_singular(lemma)
        if singular and self._frequency(singular) > self._frequency(lemma):
            return False
        if self._is_name(lemma) or self._is_rude(lemma):
            return False
        if (lemma, "n") in self._wordnet.senses and self.is_a(lemma, *INSULT_NOUNS):
            return False
        return not any(
            synset.id in self._excluded_synsets for synset in self._wordnet.find_synsets(lemma)
        )

    def _is_name(self, lemma: str) -> bool:
        senses = {part: self._wordnet.find_synsets(lemma, part) for part in "nvar"}
        if any(_is_proper_name(found[0], lemma) for found in senses.values() if found):
            return True
        nouns = senses["n"]
        if 2 * sum(_is_proper_name(synset, lemma) for synset in nouns) > len(nouns):
            return True
        tagged = any(self._wordnet.tag_counts.get((lemma, part)) for part in "nvar")
        return bool(nouns) and not tagged and self.measure_plural_rarity(lemma) > MIN_PLURAL_RARITY

    def _is_function_word(self, lemma: str) -> bool:
        tagged = sum(self._wordnet.tag_counts.get((lemma, part), 0) for part in "nvar")
        return self._frequency(lemma) >= FUNCTION_WORD_FREQUENCY and not tagged


def _is_proper_name(synset: Synset, lemma: str) -> bool:
    """Whether it is an instance, or the word is written with a capital in it."""
    return bool(synset.find_targets("@i")) or lemma not in synset.words
