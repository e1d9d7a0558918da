"""Which synsets insult: by what WordNet itself says of them, in its pointers and glosses.

WordNet marks slurs and obscenities, not all of them: what the site shows goes through its own list
of words too.
"""

from __future__ import annotations

import re
from dataclasses import replace

from idiolect.game.wordnet.database import WordNet

_USAGES = ("ethnic slur", "disparagement", "obscenity")
"""Words of the synsets to which pointers of usage (";u") lead."""
_OFFENSIVE_GLOSS = re.compile(
    r"\b(offensive|derogatory|disparaging|obscene|vulgar|insulting|pejorative|contemptuous)\b"
    r"[^\"]{0,20}\b(terms?|names?|words?|expressions?|slang)\b"
    r"|\((sometimes )?offensive|\(ethnic slur\)"
)


def find_offensive_synsets(wordnet: WordNet) -> frozenset[str]:
    """Ids of the synsets that are marked as slurs or as obscene."""
    usages = {synset.id for word in _USAGES for synset in wordnet.find_synsets(word, "n")}
    return frozenset(
        synset.id
        for synset in wordnet.synsets.values()
        if usages.intersection(synset.find_targets(";u"))
        or _OFFENSIVE_GLOSS.search(_extract_definition(synset.gloss))
    )


def _extract_definition(gloss: str) -> str:
    """The gloss without its examples, which are quoted."""
    return gloss.partition('"')[0]


def remove_words(wordnet: WordNet, synsets: frozenset[str]) -> WordNet:
    """The same database in which these synsets still connect others, but have no words."""
    kept = {
        i: replace(synset, words=(), pointers=tuple(p for p in synset.pointers if not p.word))
        if i in synsets
        else synset
        for i, synset in wordnet.synsets.items()
    }
    return replace(wordnet, synsets=kept)
