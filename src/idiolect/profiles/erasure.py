"""Erasure of profiles: of an erased person, and of people whose items changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from idiolect.history.dataset import Dataset
from idiolect.history.history import History
from idiolect.privacy.erasure import ErasureEffect, ErasureRequest
from idiolect.privacy.search.file_search import LabeledTexts
from idiolect.profiles.profile import Profile
from idiolect.profiles.store import MANIFEST_KIND, PROFILES_FILE, load_profiles, save_profiles
from idiolect.profiles.write import FACTS_WRITER, write_profiles
from idiolect.storage.manifest import Manifest
from idiolect.tasks.registry import get_task


class Profiles:
    """Erasure from folders of profiles.

    ``dataset`` is what remains after the erasure. If ``rebuild`` is on, profiles of plain facts are
    rewritten from it; profiles that a model wrote are removed.
    """

    def __init__(self, dataset: Dataset, *, rebuild: bool = True) -> None:
        self.dataset, self.rebuild = dataset, rebuild

    def find(self, folder: Path, leaving: ErasureRequest) -> str:
        """Say how many people's profiles must be removed or rewritten; empty if none."""
        stale = self._find_stale(folder, leaving)
        return f"profiles of {len(stale)} people" if stale else ""

    def preview(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Return what ``erase`` would do, without doing it."""
        return self._plan_rewrite(folder, leaving)[0]

    def erase(self, folder: Path, leaving: ErasureRequest) -> Sequence[ErasureEffect]:
        """Rewrite the folder in one atomic step."""
        effects, remaining = self._plan_rewrite(folder, leaving)
        if effects:
            task = str(Manifest.read_unchecked(folder).task)
            save_profiles(folder, (p for theirs in remaining.values() for p in theirs), task=task)
        return effects

    def _plan_rewrite(
        self, folder: Path, leaving: ErasureRequest
    ) -> tuple[list[ErasureEffect], Mapping[str, Sequence[Profile]]]:
        """Return the effects, and the profiles that the folder then holds, by person."""
        stale = self._find_stale(folder, leaving)
        if not stale:
            return [], {}
        task = str(Manifest.read_unchecked(folder).task)
        found = dict[str, Sequence[Profile]](load_profiles(folder))
        out: list[ErasureEffect] = []
        for person in stale:
            profiles = found.pop(person)
            # Facts can be rewritten from the remaining items; a model's text cannot.
            rewritten = self._rewrite_profiles(person, profiles, task)
            if rewritten:
                found[person] = rewritten
            gone = person == leaving.person and leaving.is_whole_person
            why = (
                ""
                if rewritten or gone
                else "written by a model; run idiolect profile to write it again"
            )
            outcome = "rebuilt" if rewritten else "removed" if gone else "discarded"
            out.append(
                ErasureEffect(what="profile", where=folder, outcome=outcome, person=person, why=why)
            )
        return out, found

    def scan(self, path: Path) -> LabeledTexts | None:
        """Return ``None``: profiles are plain JSON lines, which the general scan reads."""
        return None

    def _find_stale(self, folder: Path, leaving: ErasureRequest) -> list[str]:
        """List people whose profiles must go: erased, quoting erased text, or with changed
        items."""
        if not (folder / PROFILES_FILE).is_file() or Manifest.read_kind(folder) != MANIFEST_KIND:
            return []
        task = str(Manifest.read_unchecked(folder).task)
        if not leaving.is_same_person(task):
            return []
        # People whose items may have changed. Their profiles are kept if the items are the same.
        concerned = set(leaving.affected_people)
        if not leaving.is_whole_person:
            concerned.add(leaving.person)
        out: list[str] = []
        for person, profiles in sorted(load_profiles(folder).items()):
            gone = person == leaving.person and leaving.is_whole_person
            quotes = leaving.patterns.find_in_text("\x00".join(p.text for p in profiles))
            # Profiles of another task were written from another dataset.
            changed = (
                person in concerned
                and task == self.dataset.task
                and not all(map(self._is_current, profiles))
            )
            out += [person] if gone or quotes or changed else []
        return out

    def _is_current(self, profile: Profile) -> bool:
        """Return whether a profile's items are still in the dataset, unchanged."""
        if profile.person not in self.dataset:
            return False
        items = self.dataset.read_history(profile.person).items[: profile.cut]
        return History(profile.person, items).compute_fingerprint() == profile.fingerprint

    def _rewrite_profiles(
        self, person: str, old: Sequence[Profile], task: str
    ) -> tuple[Profile, ...]:
        """Write new profiles of plain facts; empty if the person is gone or a model wrote them."""
        here = self.rebuild and self.dataset.task == task and person in self.dataset
        if not here or any(profile.writer != FACTS_WRITER for profile in old):
            return ()
        return write_profiles([self.dataset.read_history(person)], get_task(task))[person]
