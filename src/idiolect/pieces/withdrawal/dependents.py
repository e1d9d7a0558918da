"""Finds what was made of some sharers' pieces in some folders, by records and manifests.

These are recipes, adapters whose training started from pieces, exported adapters, and reports. The
search changes nothing, except that it deletes temporary files of killed writers, which nothing else
would find.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from idiolect.adapters.formats.peft import CONFIG_FILE
from idiolect.adapters.store.source import read_sharers
from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import ArtifactError
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.privacy.erasure import walk_folders
from idiolect.storage.tree import require_no_outside_links

LEDGER_FOLDER = "ledger"
REPORT_FILES = ("report.json", "report.html")
"""Files of a pool report."""
_TEXT_SUFFIXES = frozenset({".json", ".jsonl", ".html", ".md", ".txt", ".csv", ".toml", ".svg"})
_MAX_TEXT_BYTES = 1 << 24
"""Text files above 16 MB are data, not reports."""


@dataclass(kw_only=True)
class Dependents:
    """The result of a search."""

    recipes: list[RecipeStore] = field(default_factory=list)
    """Stores of recipes that name one of the sharers."""
    stores: list[AdapterStore] = field(default_factory=list)
    """Stores with adapters that are made of the sharers' pieces."""
    exports: list[Path] = field(default_factory=list)
    reports: list[Path] = field(default_factory=list)
    """Files of pool reports that name one of the sharers."""
    checkpoints: list[AdapterStore] = field(default_factory=list)
    """Stores that train from the pool and hold a training checkpoint, of any person."""
    ledgers: list[Path] = field(default_factory=list)
    """Stores with a ledger, whatever its content."""
    unreadable: list[str] = field(default_factory=list)
    """Why a folder could not be searched, one message each."""

    @property
    def has_any(self) -> bool:
        """Whether anything made of the pieces was found."""
        return bool(self.recipes or self.stores or self.exports or self.reports)


def find_dependents(folders: Sequence[Path], pool: Pool, sharers: Collection[str]) -> Dependents:
    """Search the folders, with all folders below, for what is made of these sharers' pieces."""
    out = Dependents()

    def note_skipped(path: Path, why: str) -> None:
        out.unreadable.append(f"{path}: {why}")

    # Walking deletes a killed writer's temporary files, which may hold the pieces, too.
    for folder in walk_folders(folders, skip=note_skipped):
        try:
            _inspect_folder(folder, pool, frozenset(sharers), out)
        except ArtifactError as error:
            out.unreadable.append(str(error))
    return out


def find_mentions(folders: Sequence[Path], sharers: Collection[str]) -> tuple[Path, ...]:
    """Return text files below the folders that name one of the sharers; ledgers are skipped."""
    names = b"|".join(re.escape(sharer.encode()) for sharer in sharers)
    mention = re.compile(rb"(?<!\w)(?:" + names + rb")(?!\w)")
    out: list[Path] = []
    for folder in walk_folders(folders):
        if folder.name == LEDGER_FOLDER:
            continue
        for path in sorted(folder.iterdir()):
            if (
                path.suffix in _TEXT_SUFFIXES
                and path.is_file()
                and path.stat().st_size <= _MAX_TEXT_BYTES
            ):
                out += [path] if mention.search(path.read_bytes()) else []
    return tuple(out)


def _inspect_folder(folder: Path, pool: Pool, sharers: frozenset[str], out: Dependents) -> None:
    """Add one folder to the result, if it is of a known type and made of the pieces."""
    if (folder / RecipeStore.HEADER_FILE).is_file():
        recipes = RecipeStore.open(folder)
        out.recipes += [recipes] if recipes.mentions_any(sharers) else []
    elif (folder / AdapterStore.HEADER_FILE).is_file():
        # A link in a store that leads out of it would take changes there.
        require_no_outside_links(folder)
        store = AdapterStore.open(folder)
        out.stores += [store] if store.mentions_any(sharers) else []
        out.ledgers += [folder] if (folder / LEDGER_FOLDER).is_dir() else []
        # A checkpoint cannot tell whose pieces it started from, so any of this pool counts.
        from_pool = (store.settings.get("pool") or {}).get("id") == pool.id
        out.checkpoints += [store] if from_pool and (folder / "checkpoint.bin").exists() else []
    elif (folder / CONFIG_FILE).is_file():
        out.exports += [folder] if sharers & set(read_sharers(folder)) else []
    elif (folder / REPORT_FILES[0]).is_file() and _is_pool_report(folder / REPORT_FILES[0]):
        paths = [folder / name for name in REPORT_FILES if (folder / name).is_file()]
        if any(sharer.encode() in path.read_bytes() for path in paths for sharer in sharers):
            out.reports += paths


def _is_pool_report(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and content.get("format") == "idiolect-pool-report"
