"""Which determiner a base word takes in a question: "an", "a", "the" or none.

* None where it is not chiefly a noun ("another word for happy"), and where its plural is hardly
  used: such nouns are not counted ("parts of furniture") or are plurals ("parts of scissors").
* "the" where the plural is hardly used because there is one of it (`ONLY_ONE`): "the coast".
* Otherwise "a", or "an" before the sound of a vowel: a letter a, e, i, o, u that is not spoken as
  "yu" or "wu", or a silent h.

That a plural is hardly used is seen from word frequencies: 50 times rarer than the word itself,
or 4 times for substances, which are rarely counted ("waters"). Animals, people and trees always
count.
"""

from __future__ import annotations

import re

from idiolect.game.wordnet.base_words import BaseWordSelector

MIN_UNCOUNTABLE_RARITY, MIN_SUBSTANCE_RARITY = 1.7, 0.6
"""How much less frequent the plural is, in decimal logarithms."""
SUBSTANCES = ("substance", "fluid", "foodstuff", "beverage")
COUNTABLE = ("animal", "person", "tree")
UNIQUE_KINDS = ("celestial body", "atmosphere", "universe", "region", "geological formation")
"""Kinds by their first senses, and all kinds of them."""

_TAKES_AN = re.compile(
    r"(?!uni|us[aeu]|uti|ura|eu|ewe|one$|once|ub)[aeiou]|hour|heir|honou?r|honest"
)


def choose_determiner(word: str, words: BaseWordSelector) -> str:
    """ "a", "an", "the" or "" for a base word."""
    if not words.is_noun(word) or words.is_plural(word):
        return ""
    if not words.is_a(word, *COUNTABLE):
        rare = MIN_SUBSTANCE_RARITY if words.is_a(word, *SUBSTANCES) else MIN_UNCOUNTABLE_RARITY
        if words.measure_plural_rarity(word) >= rare:
            return "the" if words.is_a(word, *UNIQUE_KINDS) else ""
    return "an" if _TAKES_AN.match(word) else "a"
