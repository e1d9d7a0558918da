"""A small WordNet of about fifty synsets for tests, written in the format of wndb(5WN)."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

SYNSETS = """
n entity
n physical_entity @entity
n physical_object @physical_entity
n whole @physical_object
n living_thing @whole
n organism @living_thing %pcell
n cell @whole
n animal creature @organism %pface
n vertebrate @animal %ptail
n tail @whole
n bird @vertebrate %pbeak %mflock
n eagle @bird %skeratin
n bald_eagle @eagle
n Nile @ifluid
n face @whole %peye
n eye @whole %piris
n iris @whole
n beak bill @whole
n flock @whole
n keratin @matter
n matter @entity
n water H2O @fluid
n fluid substance foodstuff beverage @matter
n person @organism
n lout oaf @person ;udisparagement
n boor oaf churl @person :(vulgar slang) an insulting term for a person; "he is no oaf"
n disparagement @entity
n celestial_body atmosphere universe region geological_formation @whole
n tree @organism
n sexual_activity sex_crime genitalia prostitute brothel excrement suicide slavery @whole
n killing unpleasant_person simpleton @whole
n tooth @whole
n man @person
n woman @person
n leaf @whole
n leave @whole
n data @whole
n datum @whole
a hot !hot:cold
a cold !cold:hot
a icy &cold
a warm toasty &hot
a happy glad(p) !happy:sad
a sad !sad:happy
v fly soar
r quickly
"""

# SYNSETS has one synset per line: part of speech, words, pointers (symbol and target; "own:other"
# for pointers between words), and after " :" a gloss.

TAG_COUNTS = {"leaf": 5, "leave": 1, "data": 9, "datum": 2, "tooth": 2, "woman": 2, "man": 9}
EXCEPTIONS = "teeth tooth\nleaves leaf leave\ndata datum\n"
_REVERSE = {"@": "~", "@i": "~i", "&": "&"}
_LICENSE = "  1 The license of a test.  \n  2 It has two lines.  \n"


def write_small_wordnet(folder: Path) -> Path:
    """Write the database and noun.exc into ``folder``, and return it."""
    # Parse the compact notation above.
    parts: list[str] = []
    words: list[list[str]] = []
    glosses: list[str] = []
    pointers_of: list[list[str]] = []
    for line in SYNSETS.strip().splitlines():
        head, _, gloss = line.partition(" :")
        part, *rest = head.split()
        parts.append(part)
        words.append([word for word in rest if re.match(r"\w", word)])
        pointers_of.append([word for word in rest if not re.match(r"\w", word)])
        glosses.append(gloss or "a gloss")
    number = {_strip_marker(word): at for at, of in reversed(list(enumerate(words))) for word in of}
    # Resolve the pointers to line numbers, and add the reverse pointers that WordNet has.
    links: dict[int, list[tuple[str, int, str]]] = defaultdict(list)
    for at, pointers in enumerate(pointers_of):
        for pointer in pointers:
            ((symbol, target),) = re.findall(r"^(@i|[@&!]|%[pms]|;u)([\w:]+)$", pointer)
            own, _, other = target.rpartition(":")
            ends = f"{[*map(_strip_marker, words[at])].index(own) + 1:02x}01" if own else "0000"
            links[at].append((symbol, number[other], ends))
            if symbol in _REVERSE:
                links[number[other]].append((_REVERSE[symbol], at, "0000"))
    # Write data.POS and index.POS; line numbers serve as byte offsets.
    for part, name in (("n", "noun"), ("v", "verb"), ("a", "adj"), ("r", "adv")):
        data, index = "", defaultdict(list)
        for at in (at for at, of in enumerate(parts) if of == part):
            kind = "s" if any(symbol == "&" for symbol, *_ in links[at]) else part
            cells = [f"{at:08d}", "03", kind, f"{len(words[at]):02x}"]
            cells += [cell for word in words[at] for cell in (word, "0")]
            cells.append(f"{len(links[at]):03d}")
            for symbol, target, ends in links[at]:
                cells += [symbol, f"{target:08d}", parts[target], ends]
            data += " ".join(cells) + f" | {glosses[at]}  \n"
            for word in words[at]:
                index[_strip_marker(word).lower()].append(f"{at:08d}")
        lines = (
            f"{lemma} {part} {len(at)} 2 @ ~ {len(at)} 0 {' '.join(at)}  \n"
            for lemma, at in sorted(index.items())
        )
        (folder / f"data.{name}").write_text(_LICENSE + data, encoding="utf-8")
        (folder / f"index.{name}").write_text(_LICENSE + "".join(lines), encoding="utf-8")
    senses = "".join(f"{w}%1:03:00:: {number[w]:08d} 1 {n}\n" for w, n in TAG_COUNTS.items())
    (folder / "index.sense").write_text(senses, encoding="utf-8")
    (folder / "noun.exc").write_text(EXCEPTIONS, encoding="utf-8")
    return folder


def _strip_marker(word: str) -> str:
    """The word without the syntactic marker of adjectives."""
    return word.partition("(")[0]
