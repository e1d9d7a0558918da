"""Which words WordNet relates to a word: the four relations, as walks over its pointers.

* synonyms: the other words of its synsets, of every part of speech.
* antonyms: the words of every synset that holds an antonym of it. Indirect antonyms ("icy", which
  is like "cold", for "hot") are left out: over several senses they make "old" an opposite of "hot".
* hyponyms: the words of all synsets below its noun senses, however deep; instances ("the Nile") are
  no kinds.
* meronyms: parts, members and substances of its noun senses, those that follow from what it is a
  kind of (an eagle has a bird's beak), and parts of parts. Parts of the most general nouns ("cell",
  "section") are left out: nearly everything has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from idiolect.game.rules.relations import Relation
from idiolect.game.wordnet.database import Synset, WordNet

ANTONYM = "!"
PART, MEMBER, SUBSTANCE = "%p", "%m", "%s"
_ABOVE = ("@", "@i")
_GENERAL = 6
"""Nouns with fewer steps to the top ("object", "organism", "structure") hand no parts down."""


def related(wordnet: WordNet, relation: Relation, base: str) -> tuple[str, ...]:
    """The words in lower case, sorted, without the base word."""
    return tuple(sorted(_WALKS[relation](wordnet, base) - {base}))


def _synonyms(wordnet: WordNet, base: str) -> set[str]:
    return _words(wordnet.of(base))


def _antonyms(wordnet: WordNet, base: str) -> set[str]:
    opposites = {i for synset in wordnet.of(base) for i in synset.targets(ANTONYM, word=base)}
    return _words(wordnet.synsets[i] for i in opposites)


def _hyponyms(wordnet: WordNet, base: str) -> set[str]:
    below: set[str] = set()
    for synset in wordnet.of(base, "n"):
        below |= closure(wordnet, synset.id, "~") - {synset.id}
    return _words(wordnet.synsets[i] for i in below)


def _meronyms(wordnet: WordNet, base: str) -> set[str]:
    found: set[str] = set()
    for synset in wordnet.of(base, "n"):
        for kind in closure(wordnet, synset.id, *_ABOVE):
            if kind != synset.id and depth(wordnet, kind) < _GENERAL:
                continue
            for part in wordnet.synsets[kind].targets(PART, MEMBER, SUBSTANCE):
                found |= closure(wordnet, part, PART)
    return _words(wordnet.synsets[i] for i in found)


_WALKS: dict[Relation, Callable[[WordNet, str], set[str]]] = {
    Relation.SYNONYMS: _synonyms,
    Relation.ANTONYMS: _antonyms,
    Relation.HYPONYMS: _hyponyms,
    Relation.MERONYMS: _meronyms,
}


def closure(wordnet: WordNet, start: str, *symbols: str) -> set[str]:
    """Ids of all synsets that pointers of these symbols reach, the start among them."""
    reached, waiting = {start}, [start]
    while waiting:
        for target in wordnet.synsets[waiting.pop()].targets(*symbols):
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    return reached


def depth(wordnet: WordNet, start: str) -> int:
    """Steps on the shortest way from a noun's synset up to the top ("entity")."""
    steps, level, seen = 0, {start}, {start}
    while level and all(wordnet.synsets[i].targets(*_ABOVE) for i in level):
        level = {t for i in level for t in wordnet.synsets[i].targets(*_ABOVE)} - seen
        seen |= level
        steps += 1
    return steps


def _words(synsets: Iterable[Synset]) -> set[str]:
    return {word.lower() for synset in synsets for word in synset.words}
