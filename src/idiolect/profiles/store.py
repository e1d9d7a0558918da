"""Profiles on disk: one JSON line each, with a manifest of what they were made from."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from idiolect.config import from_plain, to_plain
from idiolect.errors import IntegrityError, UsageError
from idiolect.profiles.profile import Profile
from idiolect.storage.files import stage_folder
from idiolect.storage.manifest import Manifest

MANIFEST_KIND = "profiles"
PROFILES_FILE = "profiles.jsonl"


def save_profiles(folder: Path, profiles: Iterable[Profile], *, task: str) -> None:
    """Write a folder of profiles atomically; replace the profiles that it holds already.

    Raises UsageError if the folder holds something else.
    """
    # Sorted, so that the same profiles always give the same bytes.
    ordered = sorted(profiles, key=lambda profile: (profile.person, profile.cut))
    if is_nonempty(folder) and not (folder / PROFILES_FILE).is_file():
        raise UsageError(f"{folder} holds files that are not profiles; choose another folder")
    with stage_folder(folder, replace=True) as stage:
        lines = [json.dumps(to_plain(profile)) + "\n" for profile in ordered]
        (stage / PROFILES_FILE).write_text("".join(lines), encoding="utf-8")
        Manifest.from_folder(
            stage,
            kind=MANIFEST_KIND,
            task=task,
            config={"writers": sorted({profile.writer for profile in ordered})},
            contributors=tuple(profile.person for profile in ordered),
        ).save(stage)


def load_profiles(folder: Path, *, task: str | None = None) -> dict[str, tuple[Profile, ...]]:
    """Read all profiles, by person, each person's in the order of their cuts.

    Raises MissingError if there are none, MismatchError if they are for another task,
    IntegrityError if the files were changed.
    """
    Manifest.load(folder, MANIFEST_KIND).require_match(folder, task=task)
    found: dict[str, tuple[Profile, ...]] = {}
    with (folder / PROFILES_FILE).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{folder / PROFILES_FILE}:{number}"
            try:
                profile = from_plain(Profile, json.loads(line), where=where)
            except (
                *(ValueError, UsageError, AssertionError, AttributeError, TypeError),
                RecursionError,
            ) as error:
                raise IntegrityError(f"{where}: not a profile ({error})") from error
            found[profile.person] = (*found.get(profile.person, ()), profile)
    return found


def is_nonempty(folder: Path) -> bool:
    """Return whether the folder exists and is not empty."""
    return folder.is_dir() and any(folder.iterdir())
