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

from idiolect.game.wordnet.base_words import BaseWords

RARE, RARE_SUBSTANCE = 1.7, 0.6
"""How much less frequent the plural is, in decimal logarithms."""
SUBSTANCES = ("substance", "fluid", "foodstuff", "beverage")
COUNTED = ("animal", "person", "tree")
ONLY_ONE = ("celestial body", "atmosphere", "universe", "region", "geological formation")
"""Kinds by their first senses, and all kinds of them."""

_AN = re.compile(r"(?!uni|us[aeu]|uti|ura|eu|ewe|one$|once|ub)[aeiou]|hour|heir|honou?r|honest")


def determiner(word: str, words: BaseWords) -> str:
    """ "a", "an", "the" or "" for a base word."""
    if not words.is_noun(word) or words.is_plural(word):
        return ""
    if not words.is_a(word, *COUNTED):
        rare = RARE_SUBSTANCE if words.is_a(word, *SUBSTANCES) else RARE
        if words.plural_is_rarer_by(word) >= rare:
            return "the" if words.is_a(word, *ONLY_ONE) else ""
    return "an" if _AN.match(word) else "a"
