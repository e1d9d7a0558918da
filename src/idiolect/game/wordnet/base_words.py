"""Selection of base words, by WordNet and word frequency.

A base word is a single word of three or more lower-case letters that most people know
(`MIN_WORD_FREQUENCY`). It passes these rules:

* It is not a function word (frequent, but never tagged as a content word in WordNet's texts), not
  offensive in any sense (`offensive.py` and a predicate that is passed in), not from an unsuitable
  topic (`EXCLUDED_NOUNS`, `INSULT_NOUNS`), and not the plural of a more frequent noun ("cows").
* It is not a name: not in the first sense of any part of speech, not in most of its senses, and not
  a hidden name ("holly": a noun that was never tagged and whose plural is rare).
* Hyponyms and meronyms are asked only of words that are mainly nouns and not too general. Hyponyms
  of abstract nouns are asked only if there are few (`MAX_ABSTRACT_KINDS`), and not for actions in
  "-ing". Meronyms are asked only of concrete nouns, not of people.
* WordNet lists enough answers that people know, and not too many (`ANSWER_COUNT_RANGES`).

All thresholds were chosen by reading the word lists that they give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

from idiolect.game.rules.relations import Relation
from idiolect.game.wordnet.database import Synset, WordNet
from idiolect.game.wordnet.offensive import find_offensive_synsets
from idiolect.game.wordnet.plurals import list_plurals
from idiolect.game.wordnet.relations import find_closure, measure_depth

Frequency = Callable[[str], float]
"""Returns a word's Zipf frequency: log10 of its count per billion words."""

MIN_WORD_FREQUENCY = 3.2
"""Minimum Zipf frequency of a base word: once or twice in a million words."""
MIN_ANSWER_FREQUENCY = 2.5
"""Minimum Zipf frequency of a known answer. Lower, since players need not find every answer."""
FUNCTION_WORD_FREQUENCY = 4.5
"""A content word of this frequency occurs in WordNet's tagged texts; others are function words."""
MIN_NOUN_DEPTH = 4
"""Nouns with fewer steps to the root ("thing", "whole") are too general to ask for kinds or
parts."""
MAX_ABSTRACT_KINDS = 300
"""Abstract nouns with more hyponyms than this ("condition", "process") are too general."""

ANSWER_COUNT_RANGES: Mapping[Relation, tuple[int, int]] = {
    Relation.SYNONYMS: (3, 60),
    Relation.ANTONYMS: (1, 60),
    Relation.HYPONYMS: (8, 4000),
    Relation.MERONYMS: (4, 1000),
}
"""Minimum number of known answers of a base word, and maximum number of all answers."""

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
"""Words with any sense below the first sense of one of these nouns are never asked."""

INSULT_NOUNS = ("unpleasant person", "simpleton")
"""Nouns whose first sense lies below one of these are never asked: "git", but "dog" may be."""

MIN_PLURAL_RARITY = 1.5
"""An untagged noun whose plural is this much rarer (log10) counts as a hidden name."""

CONCRETE_NOUNS = ("physical object", "matter", "person")
"""A noun is concrete if its first sense is below the first sense of one of these."""


_PLURAL_ENDINGS = (("ies", "y"), ("es", ""), ("s", ""))


class BaseWordSelector:
    """Decides which words are base words, from WordNet, frequencies, irregular plurals (by
    singular), and a predicate for offensive words."""

    def __init__(
        self,
        wordnet: WordNet,
        *,
        frequency: Frequency,
        irregular: Mapping[str, Sequence[str]],
        is_offensive: Callable[[str], bool],
    ) -> None:
        self._wordnet = wordnet
        self._frequency = frequency
        self._irregular = irregular
        self._plural_of = {form: noun for noun, forms in irregular.items() for form in forms}
        self._is_offensive = is_offensive
        self._offensive = set(find_offensive_synsets(wordnet))

    def list_candidates(self) -> tuple[str, ...]:
        """All words that pass the rules that hold for every relation, sorted."""
        lemmas = {lemma for lemma, _ in self._wordnet.senses}
        return tuple(sorted(lemma for lemma in lemmas if self._is_fit(lemma)))

    def is_asked(self, relation: Relation, base: str, answers: Sequence[str]) -> bool:
        """Whether a candidate is asked in this relation, given the answers that WordNet lists."""
        # The number of answers must be in range in every relation.
        fewest, most = ANSWER_COUNT_RANGES[relation]
        if self.count_known(answers) < fewest or len(answers) > most:
            return False
        match relation:
            case Relation.SYNONYMS | Relation.ANTONYMS:
                return True
            case Relation.HYPONYMS:
                # Abstract nouns only if they have few kinds and are no actions.
                few = len(answers) <= MAX_ABSTRACT_KINDS and not base.endswith("ing")
                return self._is_particular(base) and (few or self.is_concrete(base))
            case Relation.MERONYMS:
                # Things and substances, but not people.
                thing = self.is_concrete(base) and not self.is_a(base, "person")
                return thing and self._is_particular(base)

    def count_known(self, answers: Sequence[str]) -> int:
        """Number of answers that people know."""
        return sum(self._frequency(answer) >= MIN_ANSWER_FREQUENCY for answer in answers)

    def is_noun(self, word: str) -> bool:
        """Whether the word is mainly a noun: in most of its tagged occurrences, or in most of its
        senses if it was never tagged."""
        counts = self._wordnet.tag_counts
        total = sum(counts.get((word, part), 0) for part in "nvar")
        # Senses decide only if the word was never tagged.
        if total:
            return counts.get((word, "n"), 0) > total / 2
        return 2 * len(self._wordnet.find_synsets(word, "n")) > len(
            self._wordnet.find_synsets(word)
        )

    def is_concrete(self, word: str) -> bool:
        """Whether the word is mainly a noun and its first sense is concrete (`CONCRETE_NOUNS`)."""
        return self.is_noun(word) and self.is_a(word, *CONCRETE_NOUNS)

    def is_a(self, noun: str, *kinds: str) -> bool:
        """Whether the noun's first sense is below the first sense of one of ``kinds``."""
        return any(self._get_first_sense(kind).id in self._find_hypernyms(noun) for kind in kinds)

    def is_plural(self, word: str) -> bool:
        """Whether the word is the plural of another noun ("pants")."""
        return self._find_singular(word) is not None

    def measure_plural_rarity(self, noun: str) -> float:
        """How much rarer the noun's most frequent plural is than the noun, as a log10 ratio."""
        forms = list_plurals(noun, self._irregular)
        return self._frequency(noun) - max(self._frequency(form) for form in forms)

    def _find_singular(self, word: str) -> str | None:
        cut = [word[: -len(end)] + new for end, new in _PLURAL_ENDINGS if word.endswith(end)]
        # Irregular plurals take precedence over spelling rules.
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
        return self._offensive.union(
            *(
                find_closure(self._wordnet, self._get_first_sense(noun).id, "~", "~i")
                for noun in EXCLUDED_NOUNS
            )
        )

    def _is_fit(self, lemma: str) -> bool:
        # Cheap checks first: most lemmas fail them.
        if not (lemma.isascii() and lemma.isalpha() and len(lemma) >= 3):
            return False
        if self._frequency(lemma) < MIN_WORD_FREQUENCY or self._is_function_word(lemma):
            return False
        # Plurals of more frequent nouns.
        singular = self._find_singular(lemma)
        if singular and self._frequency(singular) > self._frequency(lemma):
            return False
        # Names, offensive words, and unsuitable topics in any sense.
        if self._is_name(lemma) or self._is_offensive(lemma):
            return False
        if (lemma, "n") in self._wordnet.senses and self.is_a(lemma, *INSULT_NOUNS):
            return False
        return not any(
            synset.id in self._excluded_synsets for synset in self._wordnet.find_synsets(lemma)
        )

    def _is_name(self, lemma: str) -> bool:
        # A name in the first sense of any part of speech.
        senses = {part: self._wordnet.find_synsets(lemma, part) for part in "nvar"}
        if any(_is_proper_name(found[0], lemma) for found in senses.values() if found):
            return True
        nouns = senses["n"]
        # A name in most of its senses.
        if 2 * sum(_is_proper_name(synset, lemma) for synset in nouns) > len(nouns):
            return True
        # A hidden name: a noun that was never tagged and has hardly any plural.
        tagged = any(self._wordnet.tag_counts.get((lemma, part)) for part in "nvar")
        return bool(nouns) and not tagged and self.measure_plural_rarity(lemma) > MIN_PLURAL_RARITY

    def _is_function_word(self, lemma: str) -> bool:
        tagged = sum(self._wordnet.tag_counts.get((lemma, part), 0) for part in "nvar")
        return self._frequency(lemma) >= FUNCTION_WORD_FREQUENCY and not tagged


def _is_proper_name(synset: Synset, lemma: str) -> bool:
    """Whether the synset is an instance ("Nile"), or spells the lemma with a capital letter."""
    return bool(synset.find_targets("@i")) or lemma not in synset.words
