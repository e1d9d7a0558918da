"""Adapts bases again that were adapted on a person's items, without them; deletes a base if that
fails.

A base that was adapted again has a new identity. Adapters, pools, and recipes made for the old one
stay unchanged, and using them raises an error that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.config import from_plain
from idiolect.errors import IdiolectError, MissingError
from idiolect.events import Listener, null_listener
from idiolect.history.dataset import Dataset
from idiolect.models.base import load_base
from idiolect.models.encoder import MiniLM
from idiolect.models.erasure import BaseModelErasure, read_base_manifest
from idiolect.privacy.erasure import ErasureEffect, ErasureRequest
from idiolect.profiles.store import load_profiles
from idiolect.tasks.registry import get_task
from idiolect.training.adapt_base import AdaptConfig, ExcludedTestSet, adapt_to_task


@dataclass(frozen=True, kw_only=True)
class BaseReadapter:
    """Finds and re-adapts the bases with the person among their contributors."""

    request: ErasureRequest
    dataset: Dataset | None
    """The histories after the redaction; ``None`` if nothing is to be rebuilt."""
    profiles: Path | None = None
    listener: Listener = null_listener

    def readapt_all(self, folders: Sequence[Path]) -> tuple[dict[str, Path], list[ErasureEffect]]:
        """Re-adapt all affected bases. Returns the old identities of the bases that changed, with
        their folders, and the effects. A base that was adapted from another one comes after that
        one."""
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
        # Adapting again can give the same base. Only a base whose identity changed counts.
        removed = {
            name: folder for name, folder in identities.items() if _read_identity(folder) != name
        }
        return removed, [e for e in effects if e.where in removed.values()]

    def _readapt_or_delete(
        self, handler: BaseModelErasure, folder: Path
    ) -> Sequence[ErasureEffect]:
        """Re-adapt a base, or delete it if that is impossible."""
        try:
            self._readapt_base(folder)
        except IdiolectError as error:
            # A base that cannot be rebuilt without the person must not be used any more.
            (effect,) = handler.erase(folder, self.request)
            why = f"{effect.why}; could not be adapted again: {error}"
            return [ErasureEffect(what="base", where=folder, outcome="deleted", why=why)]
        why = f"adapted on items of {self.request.person}"
        return [ErasureEffect(what="base", where=folder, outcome="rebuilt", why=why)]

    def _readapt_base(self, folder: Path) -> None:
        """Adapt a base again on its other contributors. People who were never in it stay
        excluded."""
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
        lacking = sorted(contributors - {*self.dataset.people})
        if lacking:
            raise MissingError(f"the history of its contributor {lacking[0]!r} is missing")
        if config.context.profile and self.profiles is None:
            raise MissingError("it was adapted with profiles, which were not given")
        task = get_task(self.dataset.task)
        # All other people's items count as test data, so the base never sees them.
        excluded = [person for person in self.dataset.people if person not in contributors]
        source = self._read_setting(folder, "source")
        adapt_to_task(
            load_base(source, dtype=config.dtype, device=config.device),
            task,
            list(self.dataset.iter_histories(sorted(contributors))),
            ExcludedTestSet(task, self.dataset.iter_histories(excluded)),
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
