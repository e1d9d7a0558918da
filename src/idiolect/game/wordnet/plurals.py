"""Plurals: irregular ones from WordNet's exception list, regular ones by spelling rules.

The list (``noun.exc``, lines such as "teeth tooth") is that of WordNet 3.0, since 3.1 has none. As
in WordNet's own morphology, every noun in "-man" also has a plural in "-men".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from idiolect.errors import DataError, MissingError
from idiolect.game.wordnet.database import WordNet


def read_exceptions(file: Path, wordnet: WordNet) -> dict[str, tuple[str, ...]]:
    """Read the singulars of each irregular plural.

    Raises MissingError if the file is missing, DataError with file and line if it is malformed.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise MissingError(
            f"{file} does not exist: take it from Debian's package wordnet-base"
        ) from error
    # Plurals in "-men" first, so that entries of the file override them.
    found: dict[str, tuple[str, ...]] = {
        f"{noun[:-3]}men": (noun,)
        for noun, part in wordnet.senses
        if part == "n" and noun.endswith("man")
    }
    for number, line in enumerate(lines, start=1):
        plural, *singulars = line.replace("_", " ").split()
        if not singulars:
            raise DataError(f"a plural without a singular: {line!r}", file=file, line=number)
        found[plural] = tuple(singulars)
    return found


def group_by_singular(exceptions: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The irregular plurals of each noun."""
    found: dict[str, tuple[str, ...]] = {}
    for plural, singulars in exceptions.items():
        for singular in singulars:
            found[singular] = (*found.get(singular, ()), plural)
    return found


def list_plurals(noun: str, irregular: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The possible plurals of a noun: irregular ones, then those by spelling rules."""
    if re.search(r"(s|x|z|ch|sh)$", noun):
        regular = (f"{noun}es",)
    elif re.search(r"[^aeiou]y$", noun):
        regular = (f"{noun[:-1]}ies",)
    elif noun.endswith("o"):
        regular = (f"{noun}s", f"{noun}es")
    else:
        regular = (f"{noun}s",)
    return (*irregular.get(noun, ()), *regular)


def list_unique_singulars(
    exceptions: Mapping[str, Sequence[str]], wordnet: WordNet
) -> tuple[tuple[str, str], ...]:
    """Pairs (plural, singular) that count as the same answer, sorted.

    Of several singulars (including those by spelling: "leave" in addition to "leaf") takes the one
    that is tagged most often as a noun in WordNet's texts; omits the plural on a tie. Only single
    words count. Omits plurals that are tagged as words of their own at least as often ("data").
    """
    pairs: list[tuple[str, str]] = []
    for plural, singulars in sorted(exceptions.items()):
        # Candidates: the listed singulars, and those that dropping "s" or "es" gives.
        spelt = [plural[:-cut] for cut in (1, 2) if plural.endswith("es"[-cut:])]
        tagged = {
            form: wordnet.tag_counts.get((form, "n"), 0)
            for form in {*singulars, *spelt}
            if (form, "n") in wordnet.senses and plural.isalpha() and form.isalpha()
        }
        most = max(tagged.values(), default=0)
        best = [form for form, count in tagged.items() if count == most]
        # A regular plural (a singular by spelling wins) needs no entry: the stemmer handles it.
        own = wordnet.tag_counts.get((plural, "n"), 0) if (plural, "n") in wordnet.senses else -1
        if len(best) == 1 and own < most and best[0] not in spelt:
            pairs.append((plural, best[0]))
    return tuple(pairs)
