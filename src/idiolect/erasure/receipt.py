"""The receipt of ``forget``: what happened to each artifact, and what is left.

A receipt can be stored with keyed hashes of what was deleted. A later verification then searches
for the words, although no file holds them any more.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.errors import IntegrityError, UsageError
from idiolect.privacy.erasure import ErasureEffect
from idiolect.privacy.fingerprints import Fingerprint, make_key
from idiolect.privacy.search.file_search import ScanHit, UnsearchedFile
from idiolect.privacy.search.patterns import HashedPatterns, SearchPatterns
from idiolect.storage.files import read_json, write_json

if TYPE_CHECKING:
    from idiolect.erasure.negation_result import NegationResult


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The result of one run. It names the person, so store it only where that is allowed."""

    person: str
    records: tuple[str, ...]
    """Ids of the forgotten records; empty for the whole person."""
    searched: tuple[Path, ...]
    """The folders that were searched."""
    effects: tuple[ErasureEffect, ...]
    unreadable: tuple[str, ...]
    """Artifacts that could not be read, and why."""
    done: bool
    """False for a dry run."""
    verified: bool
    """Whether every byte below the folders was searched afterwards."""
    left: tuple[ScanHit, ...] = ()
    """Traces of the person that verification found, in files of no known kind."""
    unsearched: tuple[UnsearchedFile, ...] = ()
    """What verification did not look into, and why."""
    searched_files: int = 0
    """The number of files that verification searched."""
    too_short: int = 0
    """Number of the person's texts that are too short to be told apart, and not searched for."""
    gone: int = 0
    """Number of pairs, from deleted records, that were to be negated in the person's adapter."""
    negated: NegationResult | None = None
    """The result of the negation; ``None`` if this run did not negate."""
    kept: tuple[Path, ...] = ()
    """Files that the caller gave. They contain what is forgotten, and were not changed."""
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether verification looked into everything and found nothing."""
        return self.verified and not (self.left or self.unsearched or self.unreadable)

    @property
    def outcome_counts(self) -> dict[str, int]:
        """Number of artifacts by kind and outcome, e.g. ``{"adapter removed": 2}``."""
        out: Counter[str] = Counter()
        for effect in self.effects:
            out[f"{effect.what} {effect.outcome}"] += effect.count
        return dict(out)


_FORMAT = "idiolect-receipt"


@dataclass(frozen=True, kw_only=True)
class ReceiptFile:
    """A file with the receipts of one person, or of some records, and what to search for later.

    It names the person, and its hashes can be tested against guesses: keep it as private as the
    data, and delete it when it has served.
    """

    path: Path

    def load_patterns(self, person: str, records: Sequence[str]) -> HashedPatterns | None:
        """Return what an earlier run deleted, as hashes; ``None`` if there is no file yet.

        Raises UsageError if the receipt is about another person or other records, IntegrityError if
        it was changed.
        """
        if not self.path.exists():
            return None
        content: Any = read_json(self.path)
        try:
            if content["format"] != _FORMAT:
                raise IntegrityError(f"{self.path}: not a receipt of forget; name another file")
            if (content["person"], content["records"]) != (person, sorted(records)):
                raise UsageError(
                    f"{self.path}: a receipt about another person or other records; name another "
                    "file"
                )
            return HashedPatterns(
                key=str(content["key"]),
                texts=frozenset(map(_parse_fingerprint, content["texts"])),
                tensors=frozenset(map(_parse_fingerprint, content["tensors"])),
                short=frozenset(map(str, content["short"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{self.path}: not a receipt of forget ({error})") from error

    def save_receipt(self, receipt: Receipt, patterns: SearchPatterns) -> None:
        """Write the receipt and the hashes of what was deleted; keeps those of earlier runs."""
        key = patterns.hashed.key if patterns.hashed else make_key()
        hashed = patterns.hash_patterns(key)
        content = {
            "format": _FORMAT,
            "person": receipt.person,
            "records": sorted(receipt.records),
            "effects": [
                {"what": e.what, "where": str(e.where), "outcome": e.outcome, "person": e.person}
                for e in receipt.effects
            ],
            "verified": receipt.verified,
            "left": [[show_path(hit.where), hit.inside, hit.what] for hit in receipt.left],
            "not looked into": [
                [show_path(one.where), one.inside, one.why] for one in receipt.unsearched
            ],
            "key": key,
            "texts": sorted(map(_render_fingerprint, hashed.texts)),
            "tensors": sorted(map(_render_fingerprint, hashed.tensors)),
            "short": sorted(hashed.short),
        }
        write_json(self.path, content)


def show_path(path: Path) -> str:
    """Return a path as text that can be printed, whatever bytes its name has."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def _render_fingerprint(one: Fingerprint) -> list[int | str]:
    return [*one.prefix, one.length, one.digest]


def _parse_fingerprint(row: Sequence[Any]) -> Fingerprint:
    first, second, length, digest = row
    return Fingerprint(prefix=(int(first), int(second)), length=int(length), digest=str(digest))
