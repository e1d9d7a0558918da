"""The answers that WordNet has for a word in each of the four relations.

* synonyms: the other words of its synsets, of every part of speech.
* antonyms: the words of every synset that contains an antonym of it. Indirect antonyms ("icy",
  which is similar to "cold", for "hot") are omitted: across several senses they would make "old" an
  antonym of "hot".
* hyponyms: the words of all synsets below its noun senses, at any depth. Instances ("the Nile") are
  not hyponyms.
* meronyms: the parts, members and substances of its noun senses, those inherited from its hypernyms
  (an eagle has a bird's beak), and parts of parts. Parts of the most general nouns ("cell",
  "section") are omitted, since nearly everything has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from idiolect.game.rules.relations import Relation
from idiolect.game.wordnet.database import Synset, WordNet

ANTONYM = "!"
"""Pointer symbol (wninput(5WN)), like the ones below."""
PART, MEMBER, SUBSTANCE = "%p", "%m", "%s"
_HYPERNYM_SYMBOLS = ("@", "@i")
_MIN_DEPTH = 6
"""Nouns with fewer steps to the root ("object", "organism", "structure") pass no parts on to their
hyponyms."""


def find_related(wordnet: WordNet, relation: Relation, base: str) -> tuple[str, ...]:
    """The related words in lower case, sorted, without the base word."""
    return tuple(sorted(_FINDERS[relation](wordnet, base) - {base}))


def _find_synonyms(wordnet: WordNet, base: str) -> set[str]:
    return _collect_words(wordnet.find_synsets(base))


def _find_antonyms(wordnet: WordNet, base: str) -> set[str]:
    # Antonyms of this word only, not those of the other words of its synsets.
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
        # The synset itself and everything above it; parts of very general nouns are not inherited.
        for kind in find_closure(wordnet, synset.id, *_HYPERNYM_SYMBOLS):
            if kind != synset.id and measure_depth(wordnet, kind) < _MIN_DEPTH:
                continue
            # Each part, with the parts of parts.
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
    """Ids of all synsets reachable over pointers of these symbols, including ``start``."""
    reached, waiting = {start}, [start]
    while waiting:
        for target in wordnet.synsets[waiting.pop()].find_targets(*symbols):
            if target not in reached:
                reached.add(target)
                waiting.append(target)
    return reached


def measure_depth(wordnet: WordNet, start: str) -> int:
    """Length of the shortest path from a noun's synset up to the root ("entity")."""
    # Breadth-first search, one level per step, until a synset without a hypernym appears.
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
