"""Bases that were adapted on somebody's items: adapted anew on everybody else's, or refused.

An adapted base is another base: adapters, pools and recipes made for the former one stay as they
are, and using them is an error that says so.
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
from idiolect.profiles.store import load_profiles as load_profiles
from idiolect.tasks.registry import get_task
from idiolect.training.adapt_base import AdaptConfig, ExcludedTestSet, adapt_to_task


@dataclass(frozen=True, kw_only=True)
class BaseReadapter:
    """Sees to bases with who leaves among their contributors."""

    request: ErasureRequest
    dataset: Dataset | None
    """The histories without who leaves; ``None`` where nothing is to be made anew."""
    profiles: Path | None = None
    listener: Listener = null_listener

    def readapt_all(self, folders: Sequence[Path]) -> tuple[dict[str, Path], list[ErasureEffect]]:
        """All that are found: the former identities of those that are others now, and what became
        of them. One that was adapted further comes after the one it went on from.
        """
        holder = BaseModelErasure()
        found = [folder for folder in folders if holder.find(folder, self.request)]
        parents = {folder: self._read_setting(folder, "parent") for folder in found}
        identities = {str(_read_identity(folder)): folder for folder in found}
        effects: list[ErasureEffect] = []
        waiting = sorted(found)
        while waiting:
            ready = [f for f in waiting if identities.get(parents[f]) not in waiting] or waiting
            for folder in ready:
                effects += self._readapt_or_delete(holder, folder)
            waiting = [folder for folder in waiting if folder not in ready]
        gone = {
            name: folder for name, folder in identities.items() if _read_identity(folder) != name
        }
        return gone, [e for e in effects if e.where in gone.values()]

    def _readapt_or_delete(self, holder: BaseModelErasure, folder: Path) -> Sequence[ErasureEffect]:
        try:
            self._readapt_base(folder)
        except IdiolectError as error:
            (effect,) = holder.erase(folder, self.request)
            why = f"{effect.why}; not made anew here: {error}"
            return [ErasureEffect(what="base", where=folder, outcome="deleted", why=why)]
        why = f"adapted on items of {self.request.person}"
        return [ErasureEffect(what="base", where=folder, outcome="rebuilt", why=why)]

    def _readapt_base(self, folder: Path) -> None:
        """Adapt it again on its other contributors; who never was in it stays out of it."""
        manifest = read_base_manifest(folder)
        assert manifest is not None
        if self.dataset is None or self.dataset.task != manifest.config.get("task"):
            raise MissingError("no histories of its task are at hand")
        if "adapt" not in manifest.config:
            raise MissingError("it was made of an adapted base, and not by adapting")
        config = from_plain(AdaptConfig, manifest.config["adapt"], where=str(folder))
        mine = () if self.request.is_whole_person else (self.request.person,)
        others = {*manifest.contributors} - {self.request.person} | {*mine}
        lacking = sorted(others - {*self.dataset.people})
        if lacking:
            raise MissingError(f"no history of {lacking[0]!r}, who is in it, too")
        if config.context.profile and self.profiles is None:
            raise MissingError("it was adapted with profiles, which are not named")
        task = get_task(self.dataset.task)
        apart = [person for person in self.dataset.people if person not in others]
        source = self._read_setting(folder, "source")
        adapt_to_task(
            load_base(source, dtype=config.dtype, device=config.device),
            task,
            list(self.dataset.iter_histories(sorted(others))),
            ExcludedTestSet(task, self.dataset.iter_histories(apart)),
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
