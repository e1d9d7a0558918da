"""A parser of WordNet's database files, whose format is documented in wndb(5WN).

``data.POS`` has one synset per line: its words and its pointers to other synsets. ``index.POS`` has
the senses of each word, most frequent first. ``index.sense`` has the number of times that each
sense was tagged in texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from idiolect.errors import DataError, MissingError

PARTS_OF_SPEECH = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
"""Parts of speech as in synsets, and as in file names. Satellite adjectives ("s") become "a"."""

_PART_OF_KEY = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}
"""Part of speech by the ss_type digit of a sense key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pointer:
    """A pointer from a synset, or from one of its words, to another synset or word.

    ``word`` and ``target_word`` count from 1; 0 means the whole synset.
    """

    symbol: str
    target: str
    word: int
    target_word: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Synset:
    """The words that share one meaning, and its pointers to other meanings."""

    id: str
    """Part of speech and offset, e.g. "n02084071"."""
    words: tuple[str, ...]
    pointers: tuple[Pointer, ...]
    gloss: str = ""

    def find_targets(self, *symbols: str, word: str | None = None) -> tuple[str, ...]:
        """Ids of the synsets that pointers of these symbols lead to, in file order.

        If ``word`` is given, skips the pointers of other words of the synset.
        """
        return tuple(
            pointer.target
            for pointer in self.pointers
            if pointer.symbol in symbols
            and (word is None or not pointer.word or self.words[pointer.word - 1].lower() == word)
        )


@dataclass(frozen=True, kw_only=True)
class WordNet:
    """The whole database. Words have spaces instead of underscores, and lemmas are lower case."""

    synsets: dict[str, Synset]
    senses: dict[tuple[str, str], tuple[str, ...]]
    """Synset ids of a (lemma, part of speech), most frequent first."""
    tag_counts: dict[tuple[str, str], int]
    """How often each (lemma, part of speech) was tagged in texts, summed over its senses."""

    def find_synsets(self, lemma: str, parts: str = "nvar") -> tuple[Synset, ...]:
        """The synsets of a word, in the order of ``parts`` (parts of speech) and then of sense."""
        return tuple(self.synsets[i] for part in parts for i in self.senses.get((lemma, part), ()))


def read_wordnet(folder: Path) -> WordNet:
    """Read WordNet from its ``dict`` folder.

    Raises MissingError if a file is missing, DataError with file and line if one is malformed.
    """
    synsets: dict[str, Synset] = {}
    senses: dict[tuple[str, str], tuple[str, ...]] = {}
    for part, name in PARTS_OF_SPEECH.items():
        for line, text in _iter_lines(folder / f"data.{name}"):
            try:
                synset = _parse_synset(part, text)
            except (ValueError, IndexError) as error:
                raise DataError(
                    f"not a synset: {text[:60]!r}", file=folder / f"data.{name}", line=line
                ) from error
            synsets[synset.id] = synset
        # The index refers to the synsets of its own part of speech, which are complete now.
        for line, text in _iter_lines(folder / f"index.{name}"):
            try:
                lemma, found = _parse_index_line(part, text)
            except (ValueError, IndexError) as error:
                raise DataError(
                    f"not an index entry: {text[:60]!r}", file=folder / f"index.{name}", line=line
                ) from error
            if missing := [i for i in found if i not in synsets]:
                raise DataError(
                    f"{lemma!r} leads to {missing[0]}, which is not in data.{name}",
                    file=folder / f"index.{name}",
                    line=line,
                )
            senses[lemma, part] = found
    return WordNet(
        synsets=synsets, senses=senses, tag_counts=_read_tag_counts(folder / "index.sense")
    )


def _iter_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines without those of the license, which begin with two spaces."""
    try:
        with file.open(encoding="utf-8") as lines:
            for number, text in enumerate(lines, start=1):
                if text.strip() and not text.startswith("  "):
                    yield number, text
    except FileNotFoundError as error:
        raise MissingError(
            f"{file} does not exist: is {file.parent} WordNet's dict folder?"
        ) from error


def _parse_synset(part: str, text: str) -> Synset:
    """Parse ``offset lex_filenum ss_type w_cnt word lex_id [word lex_id...] p_cnt [ptr...] ...``.

    ``w_cnt`` is hexadecimal, ``p_cnt`` decimal.
    """
    head, _, gloss = text.partition(" | ")
    fields = head.split(" ")
    count = int(fields[3], 16)
    words = tuple(_parse_word(word) for word in fields[4 : 4 + 2 * count : 2])
    # Each pointer has four fields: symbol, offset, part of speech, and source/target word numbers.
    at = 4 + 2 * count
    pointers = [fields[at + 1 + 4 * n : at + 5 + 4 * n] for n in range(int(fields[at]))]
    return Synset(
        id=part + _check_offset(fields[0]),
        words=words,
        gloss=gloss.strip(),
        pointers=tuple(
            Pointer(
                symbol=symbol,
                target=("a" if kind == "s" else kind) + _check_offset(target),
                word=int(ends[:2], 16),
                target_word=int(ends[2:], 16),
            )
            for symbol, target, kind, ends in pointers
        ),
    )


def _check_offset(text: str) -> str:
    if len(text) != 8 or not text.isdecimal():
        raise ValueError(text)
    return text


def _parse_word(text: str) -> str:
    """Remove the syntactic marker of adjectives ("galore(ip)"), and underscores."""
    return text.partition("(")[0].replace("_", " ")


def _parse_index_line(part: str, text: str) -> tuple[str, tuple[str, ...]]:
    """Parse ``lemma pos synset_cnt p_cnt [symbol...] sense_cnt tagsense_cnt offset [offset...]``
    into the lemma and its synset ids."""
    fields = text.split()
    count, symbols = int(fields[2]), int(fields[3])
    # The offsets follow the pointer symbols and two more counts.
    offsets = fields[6 + symbols :]
    if len(offsets) != count:
        raise ValueError(text)
    return fields[0].replace("_", " "), tuple(part + _check_offset(o) for o in offsets)


def _read_tag_counts(file: Path) -> dict[tuple[str, str], int]:
    """Sum the tag counts of lines ``lemma%ss_type:... offset sense_number tag_cnt`` by word."""
    counts: dict[tuple[str, str], int] = {}
    for line, text in _iter_lines(file):
        try:
            key, _, _, count = text.split()
            # In "leaf%1:20:00::" the digit after "%" is the part of speech.
            lemma, _, rest = key.partition("%")
            word = lemma.replace("_", " "), _PART_OF_KEY[rest[0]]
            counts[word] = counts.get(word, 0) + int(count)
        except (ValueError, KeyError, IndexError) as error:
            raise DataError(f"not a sense: {text[:60]!r}", file=file, line=line) from error
    return counts
