"""Adapts bases again that were adapted on a person's items, without them; deletes a base if that
fails.

A base that was adapted again has a new identity. Adapters, pools, and recipes made for the old one
stay unchanged, and using them raises an error that says so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.config import from_plain
from idiolect.errors import IdiolectError, MissingError
from idiolect.events import Listener, null_listener
from idiolect.history.dataset import Dataset
from idiolect.models.encoder import MiniLM
from idiolect.models.erasure import BaseModelErasure, read_base_manifest
from idiolect.models.folder.model_source import require_base_files
from idiolect.models.load import load_base
from idiolect.privacy.erasure import ErasureEffect, ErasureRequest
from idiolect.profiles.store import load_profiles
from idiolect.tasks.registry import get_task
from idiolect.training.adapt_base import AdaptConfig, ExcludedTestSet, adapt_to_task


@dataclass(frozen=True, kw_only=True)
class _PreparedBase:
    """What adapting a base again needs."""

    dataset: Dataset
    source: str
    config: AdaptConfig
    contributors: Collection[str]


@dataclass(frozen=True, kw_only=True)
class BaseReadapter:
    """Finds and re-adapts the bases with the person among their contributors."""

    request: ErasureRequest
    dataset: Dataset | None
    """The histories after the redaction; ``None`` if nothing is to be rebuilt."""
    profiles: Path | None = None
    original: Dataset | None = None
    """In a dry run: the histories before the redaction."""
    is_dry_run: bool = False
    listener: Listener = null_listener

    def readapt_all(self, folders: Sequence[Path]) -> tuple[dict[str, Path], list[ErasureEffect]]:
        """Re-adapt all affected bases. Returns the old identities of the bases that changed, with
        their folders, and the effects. A base that was adapted from another one comes after that
        one. A dry run assumes that adapting again changes a base if its training data change.
        """
        handler = BaseModelErasure()
        found = [folder for folder in folders if handler.find(folder, self.request)]
        parents = {folder: self._read_setting(folder, "parent") for folder in found}
        identities = {str(_read_identity(folder)): folder for folder in found}
        effects: list[ErasureEffect] = []
        # Parents before children; a cycle, which should not exist, is processed in one go.
        waiting = sorted(found)
        while waiting:
            ready = [f for f in waiting if identities.get(parents[f]) not in waiting] or waiting
            for folder in ready:
                effects += self._readapt_or_delete(handler, folder)
            waiting = [folder for folder in waiting if folder not in ready]
        # Adapting again can give the same base, and then what was made for it stays usable.
        removed = {
            name: folder
            for name, folder in identities.items()
            if (self._would_change(folder) if self.is_dry_run else _read_identity(folder) != name)
        }
        return removed, effects

    def _would_change(self, folder: Path) -> bool:
        """Whether adapting a base again would see other training data than there are now."""
        manifest, old, new = read_base_manifest(folder), self.original, self.dataset
        if manifest is None or old is None or new is None or self.request.is_whole_person:
            return True
        if new.task != manifest.config.get("task"):
            return True
        task = get_task(new.task)

        def read_training_data(dataset: Dataset, person: str) -> object:
            history = dataset.read_history(person)
            if person in manifest.contributors:
                return history.items if task.labeled else (history.items, history.queries)
            # Of people who stay out of it, only the keys of shared records count.
            return {task.record_key(row) for row in (*history.items, *history.queries)}

        changed = {self.request.person, *self.request.affected_people} & {*old.people}
        return any(read_training_data(old, p) != read_training_data(new, p) for p in changed)

    def _readapt_or_delete(
        self, handler: BaseModelErasure, folder: Path
    ) -> Sequence[ErasureEffect]:
        """Re-adapt a base, or delete it if that is impossible. A dry run checks only."""
        try:
            prepared = self._prepare_base(folder)
            if not self.is_dry_run:
                self._readapt_base(folder, prepared)
        except IdiolectError as error:
            # A base that cannot be rebuilt without the person must not be used any more.
            act = handler.preview if self.is_dry_run else handler.erase
            (effect,) = act(folder, self.request)
            why = f"{effect.why}; could not be adapted again: {error}"
            return [ErasureEffect(what="base", where=folder, outcome="deleted", why=why)]
        why = f"adapted on items of {self.request.person}"
        return [ErasureEffect(what="base", where=folder, outcome="rebuilt", why=why)]

    def _prepare_base(self, folder: Path) -> _PreparedBase:
        """Collect what adapting again needs. Raises MissingError if anything of it is missing."""
        manifest = read_base_manifest(folder)
        assert manifest is not None
        # Re-adapting needs the original settings and all other contributors' histories.
        if self.dataset is None or self.dataset.task != manifest.config.get("task"):
            raise MissingError("the histories of its task are not available")
        if "adapt" not in manifest.config:
            raise MissingError("it was made from an adapted base, not by adapting")
        config = from_plain(AdaptConfig, manifest.config["adapt"], where=str(folder))
        # If only records are forgotten, the person stays a contributor with the remaining items.
        remaining = () if self.request.is_whole_person else (self.request.person,)
        contributors = {*manifest.contributors} - {self.request.person} | {*remaining}
        if not contributors:
            raise MissingError("it was adapted on items of no other person")
        lacking = sorted(contributors - {*self.dataset.people})
        if lacking:
            raise MissingError(f"the history of its contributor {lacking[0]!r} is missing")
        if config.context.profile and self.profiles is None:
            raise MissingError("it was adapted with profiles, which were not given")
        source = self._read_setting(folder, "source")
        require_base_files(source)
        return _PreparedBase(
            dataset=self.dataset, source=source, config=config, contributors=contributors
        )

    def _readapt_base(self, folder: Path, prepared: _PreparedBase) -> None:
        """Adapt a base again on its other contributors. People who were never in it stay
        excluded."""
        dataset, config = prepared.dataset, prepared.config
        task, contributors = get_task(dataset.task), prepared.contributors
        # All other people's items count as test data, so the base never sees them.
        excluded = [person for person in dataset.people if person not in contributors]
        adapt_to_task(
            load_base(prepared.source, dtype=config.dtype, device=config.device),
            task,
            list(dataset.iter_histories(sorted(contributors))),
            ExcludedTestSet(task, dataset.iter_histories(excluded)),
            folder,
            config,
            profiles=load_profiles(self.profiles, task=task.name) if self.profiles else None,
            encoder=MiniLM() if config.context.retrieval == "dense" else None,
            listener=self.listener,
        )

    def _read_setting(self, folder: Path, name: str) -> str:
        manifest = read_base_manifest(folder)
        return str(manifest.config.get(name, "")) if manifest else ""


def _read_identity(folder: Path) -> str | None:
    manifest = read_base_manifest(folder)
    return manifest.base if manifest else None
