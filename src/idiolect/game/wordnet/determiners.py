"""The determiner of a base word in a question: "a", "an", "the" or none.

* None if the word is not mainly a noun ("another word for happy"), or if its plural is rare: such
  nouns are uncountable ("parts of furniture") or are plurals themselves ("parts of scissors").
* "the" if the plural is rare because there is only one of it (`UNIQUE_KINDS`): "the coast".
* Otherwise "a", or "an" before a vowel sound: a letter a, e, i, o, u that is not pronounced "yu" or
  "wu", or a silent h.

A plural is rare if it is 50 times less frequent than the noun, or 4 times for substances, which are
seldom counted ("waters"). Animals, people and trees are always countable.
"""

from __future__ import annotations

import re

from idiolect.game.wordnet.base_words import BaseWordSelector

MIN_UNCOUNTABLE_RARITY, MIN_SUBSTANCE_RARITY = 1.7, 0.6
"""How much rarer a plural must be to count as rare, as a log10 ratio."""
SUBSTANCES = ("substance", "fluid", "foodstuff", "beverage")
COUNTABLE = ("animal", "person", "tree")
UNIQUE_KINDS = ("celestial body", "atmosphere", "universe", "region", "geological formation")
"""A noun belongs to one of these classes if its first sense is below that of a listed noun."""

_TAKES_AN = re.compile(
    r"(?!uni|us[aeu]|uti|ura|eu|ewe|one$|once|ub)[aeiou]|hour|heir|honou?r|honest"
)


def choose_determiner(word: str, words: BaseWordSelector) -> str:
    """The determiner of a base word: "a", "an", "the" or ""."""
    if not words.is_noun(word) or words.is_plural(word):
        return ""
    if not words.is_a(word, *COUNTABLE):
        rare = MIN_SUBSTANCE_RARITY if words.is_a(word, *SUBSTANCES) else MIN_UNCOUNTABLE_RARITY
        # A rare plural: unique things take "the", uncountable nouns take nothing.
        if words.measure_plural_rarity(word) >= rare:
            return "the" if words.is_a(word, *UNIQUE_KINDS) else ""
    return "an" if _TAKES_AN.match(word) else "a"
