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
_HYPERNYM_SYMBOLS = ("@", "@i")
_MIN_DEPTH = 6
"""Nouns with fewer steps to the top ("object", "organism", "structure") hand no parts down."""


def find_related(wordnet: WordNet, relation: Relation, base: str) -> tuple[str, ...]:
    """The words in lower case, sorted, without the base word."""
    return tuple(sorted(_FINDERS[relation](wordnet, base) - {base}))


def _find_synonyms(wordnet: WordNet, base: str) -> set[str]:
    return _collect_words(wordnet.find_synsets(base))


def _find_antonyms(wordnet: WordNet, base: str) -> set[str]:
    opposites = {
        i for synset in wordnet.find_synsets(base) for i in synset.find_targets(ANTONYM, word=base)
    }
    return _collect_words(wordnet.synsets[i] for i in opposites)


def _find_hyponyms(wordnet: WordNet, base: str) -> set[str]:
    below: set[str] = set()
    for synset in wordnet.find_synsets(base, "n"):
        below |= find_closure(wordnet, synset.id, "~") - {synset.id}
    return _collect_words(wordnet.synsets[i] for i in below)


def _find_meronyms(wordnet: WordNet, base: str) -> set[str]:
    found: set[str] = set()
    for synset in wordnet.find_synsets(base, "n"):
        for kind in find_closure(wordnet, synset.id, *_HYPERNYM_SYMBOLS):
            if kind != synset.id and measure_depth(wordnet, kind) < _MIN_DEPTH:
                continue
            for part in wordnet.synsets[kind].find_targets(PART, MEMBER, SUBSTANCE):
                found |= find_closure(wordnet, part, PART)
    return _collect_words(wordnet.synsets[i] for i in found)


_FINDERS: dict[Relation, Callable[[WordNet, str], set[str]]] = {
    Relation.SYNONYMS: _find_synonyms,
    Relation.ANTONYMS: _find_antonyms,
    Relation.HYPONYMS: _find_hyponyms,
    Relation.MERONYMS: _find_meronyms,
}


def find_closure(wordnet: WordNet, start: str, *symbols: str) -> set[str]:
    """Ids of all synsets that pointers of these symbols reach, the start among them."""
    reached, waiting = {start}, [start]
    while waiting:
        for target in wordnet.synsets[waiting.pop()].find_targets(*symbols):
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    return reached


def measure_depth(wordnet: WordNet, start: str) -> int:
    """Steps on the shortest way from a noun's synset up to the top ("entity")."""
    steps, level, seen = 0, {start}, {start}
    while level and all(wordnet.synsets[i].find_targets(*_HYPERNYM_SYMBOLS) for i in level):
        level = {
            t for i in level for t in wordnet.synsets[i].find_targets(*_HYPERNYM_SYMBOLS)
        } - seen
        seen |= level
        steps += 1
    return steps


def _collect_words(synsets: Iterable[Synset]) -> set[str]:
    return {word.lower() for synset in synsets for word in synset.words}
