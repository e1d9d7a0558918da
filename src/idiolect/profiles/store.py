"""Profiles on disk: one JSON line each, beside a manifest of what they were made of."""

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
    """Write the folder, whole or not at all; profiles that stood there are replaced.

    Raises UsageError where the folder holds something else.
    """
    ordered = sorted(profiles, key=lambda profile: (profile.person, profile.cut))
    if is_nonempty(folder) and not (folder / PROFILES_FILE).is_file():
        raise UsageError(f"{folder} holds something that is no profiles; choose another folder")
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
    """Read every profile, by person, each person's in the order of their cuts.

    Raises MissingError where there are none, MismatchError where they are for another task,
    IntegrityError where a byte was changed.
    """
    Manifest.load(folder, MANIFEST_KIND).require_match(folder, task=task)
    found: dict[str, tuple[Profile, ...]] = {}
    with (folder / PROFILES_FILE).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{folder / PROFILES_FILE}:{number}"
            try:
                profile = from_plain(Profile, json.loads(line), where=where)
            except (ValueError, UsageError, AssertionError, AttributeError, TypeError) as error:
                raise IntegrityError(f"{where}: not a profile ({error})") from error
            found[profile.person] = (*found.get(profile.person, ()), profile)
    return found


def is_nonempty(folder: Path) -> bool:
    """Whether the folder is there and not empty."""
    return folder.is_dir() and any(folder.iterdir())
