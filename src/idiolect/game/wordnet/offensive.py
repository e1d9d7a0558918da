"""Offensive synsets, by WordNet's own pointers and glosses.

WordNet marks most slurs and obscenities, but not all of them, so the site also filters what it
shows through `idiolect.game.profanity`.
"""

from __future__ import annotations

import re
from dataclasses import replace

from idiolect.game.wordnet.database import WordNet

_USAGES = ("ethnic slur", "disparagement", "obscenity")
"""Words of the synsets that usage pointers (";u") of offensive words lead to."""
_OFFENSIVE_GLOSS = re.compile(
    r"\b(offensive|derogatory|disparaging|obscene|vulgar|insulting|pejorative|contemptuous)\b"
    r"[^\"]{0,20}\b(terms?|names?|words?|expressions?|slang)\b"
    r"|\((sometimes )?offensive|\(ethnic slur\)"
)


def find_offensive_synsets(wordnet: WordNet) -> frozenset[str]:
    """Ids of the synsets that WordNet marks as slurs or obscenities."""
    usages = {synset.id for word in _USAGES for synset in wordnet.find_synsets(word, "n")}
    return frozenset(
        synset.id
        for synset in wordnet.synsets.values()
        if usages.intersection(synset.find_targets(";u"))
        # Only the definition counts, not the quoted examples after it.
        or _OFFENSIVE_GLOSS.search(synset.gloss.partition('"')[0])
    )


def remove_words(wordnet: WordNet, synsets: frozenset[str]) -> WordNet:
    """A copy of the database in which these synsets have no words but still connect others."""
    # Without words, pointers between words have no source; pointers between synsets stay.
    kept = {
        i: replace(synset, words=(), pointers=tuple(p for p in synset.pointers if not p.word))
        if i in synsets
        else synset
        for i, synset in wordnet.synsets.items()
    }
    return replace(wordnet, synsets=kept)
