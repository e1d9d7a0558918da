"""Somebody is forgotten, or some of their records: everywhere below some folders, in one order.

The dataset that they leave is rewritten last and in one step: until then it says whose and what
goes, so that after a kill at any moment the same call finds all that is left and finishes. What
others have that followed from their words is made anew from what is left of the histories, or taken
away, or refused; nobody else's numbers change. Whatever holds personal data is asked as a
``Holder``; those of floors above are passed in.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from idiolect.adapters.erasure import CopiedAdapterErasure, ExportErasure, StoreErasure
from idiolect.adapters.store.artifact import BaseBoundArtifact
from idiolect.adapters.store.store import AdapterStore
from idiolect.erasure.derived import WORK_IN_PROGRESS, DerivedArtifacts
from idiolect.erasure.inventory import LEDGER_FOLDER, PersonInventory, collect_inventory
from idiolect.erasure.receipt import Receipt
from idiolect.errors import MissingError
from idiolect.events import Listener, null_listener
from idiolect.history.dataset import Dataset, read_dataset
from idiolect.history.erasure import DatasetErasure, list_effects, rewrite_dataset
from idiolect.history.redact import Redaction
from idiolect.models.erasure import BaseModelErasure
from idiolect.pieces.erasure import RecipeErasure
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.privacy.erasure import ErasureEffect, ErasureHandler
from idiolect.privacy.ledger import Ledger
from idiolect.privacy.scan import ScanHit, scan_tree
from idiolect.profiles.erasure import Profiles
from idiolect.storage.files import hold_lock, stage_folder
from idiolect.tasks.registry import get_task
from idiolect.training.erasure import PartErasure

FORGOTTEN, RECORDS_FORGOTTEN = "forgotten", "records forgotten"
"""What the ledger says of it, under a pseudonym."""
_HANDLERS: tuple[ErasureHandler, ...] = (
    CopiedAdapterErasure(),
    ExportErasure(),
    RecipeErasure(),
    PartErasure(),
    StoreErasure(),
)


@dataclass(frozen=True, kw_only=True)
class ForgetConfig:
    """How somebody is forgotten."""

    rebuild: bool = True
    """Whether what others have that followed from their words is made anew where it can be; else it
    is taken away."""
    keep_joint: bool = False
    """Whether records that are others' as well (a co-authored paper) stay in these others'
    histories."""


@dataclass(frozen=True, kw_only=True)
class ForgetRequest:
    """One call of ``forget``."""

    data: Path
    adapters: Path
    person: str
    records: tuple[str, ...] = ()
    search_folders: tuple[Path, ...] = ()
    config: ForgetConfig = field(default_factory=ForgetConfig)
    base: str | None = None
    profiles: Path | None = None
    handlers: tuple[ErasureHandler, ...] = ()
    """Of floors above."""
    wait: bool = True
    listener: Listener = null_listener

    @property
    def search_roots(self) -> tuple[Path, ...]:
        """Where things are looked for: the folders named, else those that data and adapters are
        in; and these two. One within another is looked through once."""
        beside = (self.data.absolute().parent, self.adapters.absolute().parent)
        wanted = (*(self.search_folders or beside), self.data, self.adapters)
        tops = {folder.resolve(): folder for folder in reversed(wanted)}
        return tuple(
            tops[place]
            for place in sorted(tops)
            if not any(place != other and place.is_relative_to(other) for other in tops)
        )

    def run(self, *, verify: bool = False, dry_run: bool = False) -> Receipt:
        """Do it, or say what would be done; see ``api.forget``."""
        started = time.monotonic()
        for folder in self.search_folders:
            if not folder.is_dir():
                raise MissingError(f"{folder}: no folder there to look in")
        _require_adapters(self.adapters)
        with hold_lock(self.data, wait=self.wait, what="the dataset"):
            main = self._plan_redaction()
            found = collect_inventory(
                main, self.search_roots, [self.adapters], self._dataset_handler
            )
            known = self._has_work(main, found)
            if not known and not verify:
                raise MissingError(self._explain_nothing_found(main))
            doing = self._preview_effects if dry_run else self._erase_everything
            done = doing(main, found) if known else []
        left = self._scan_files(found) if verify and not dry_run else ()
        return Receipt(
            person=self.person,
            records=self.records,
            searched=self.search_roots,
            effects=tuple(done),
            unreadable=tuple(found.unreadable),
            done=not dry_run,
            verified=verify and not dry_run,
            left=left,
            seconds=time.monotonic() - started,
        )

    @property
    def _is_whole_person(self) -> bool:
        """Whether it is the person who goes, and not something of theirs alone."""
        return not self.records

    @property
    def _caller_files(self) -> tuple[Path, ...]:
        """Files of the caller that verification passes by."""
        return ()

    @property
    def _excluded_store(self) -> Path | None:
        """See ``Derived.spared``."""
        return None

    @property
    def _ledger_event(self) -> tuple[str, Mapping[str, Any]]:
        """What the ledger is told, under their pseudonym."""
        told = {} if self._is_whole_person else {"records": len(self.records)}
        return (FORGOTTEN if self._is_whole_person else RECORDS_FORGOTTEN), told

    @property
    def _dataset_handler(self) -> DatasetErasure:
        return DatasetErasure(get_task, keep_joint=self.config.keep_joint)

    def _plan_redaction(self) -> Redaction:
        """What goes of the dataset; raises MissingError for a record that is not in it."""
        dataset = read_dataset(self.data)
        if self.records:
            history = dataset.read_history(self.person)
            there = {i.id for i in (*history.items, *history.queries)}
            for record in self.records:
                if record not in there:
                    raise MissingError(
                        f"{self.data}: {self.person!r} has no record {record!r}; it was never "
                        "there, or is forgotten already; where an adapter still knows what it "
                        f"said: idiolect forget {self.data} {self.adapters} --person "
                        f"{self.person} --gone PAIRS"
                    )
        return Redaction(
            dataset,
            self.person,
            get_task(dataset.task),
            records=self.records,
            keep_joint=self.config.keep_joint,
        )

    def _erase_everything(self, main: Redaction, found: PersonInventory) -> list[ErasureEffect]:
        """Everything, in the order in which a kill is finished by another run."""
        out: list[ErasureEffect] = []
        with self._stage_dataset(main) as dataset:
            place = str(dataset.folder)  # where the histories are meanwhile is no use to anybody
            out += [
                replace(effect, why=effect.why.replace(place, str(self.data)))
                for effect in self._erase_derived(found, dataset)
            ]
            for other in found.datasets:
                rewrite_dataset(other, other.dataset.folder)
                out += list_effects(other, other.dataset.folder)
            out += [e for folder in found.stores for e in self._update_ledger(folder, found)]
            if main.is_needed:
                out += list_effects(main, self.data)
        return out

    @contextmanager
    def _stage_dataset(self, main: Redaction) -> Generator[Dataset]:
        """The dataset as it will be; it takes its place when the block has ended well."""
        if not main.is_needed:
            yield main.dataset
            return
        with stage_folder(self.data, replace=True) as stage:
            yield rewrite_dataset(main, stage)

    def _erase_derived(self, found: PersonInventory, dataset: Dataset) -> list[ErasureEffect]:
        """All that was made of their words."""
        return DerivedArtifacts(
            inventory=found,
            dataset=dataset,
            search_roots=self.search_roots,
            rebuild=self.config.rebuild,
            base=self.base,
            profiles=self.profiles,
            handlers=self.handlers,
            excluded_store=self._excluded_store,
            wait=self.wait,
            listener=self.listener,
        ).erase_all()

    def _update_ledger(self, folder: Path, found: PersonInventory) -> list[ErasureEffect]:
        """Tell a store's ledger; of a whole person the way to their pseudonym goes after that, also
        where the ledger was edited and takes no more events."""
        ledger = Ledger(folder / LEDGER_FOLDER)
        with found.collect_errors():
            if ledger.read_entries_of(self.person):
                event, details = self._ledger_event
                ledger.record_event(event, [self.person], details)
        if not self._is_whole_person or not ledger.forget_person(self.person):
            return []
        return [
            ErasureEffect(what="pseudonym", where=folder, outcome="destroyed", person=self.person)
        ]

    def _has_work(self, main: Redaction, found: PersonInventory) -> bool:
        """Whether there is anything of theirs; work in progress, of whoever, does not count."""
        if main.is_needed or found.datasets or found.pools or found.request.patterns.tensors:
            return True
        for folder in found.stores:
            with found.collect_errors():
                if Ledger(folder / LEDGER_FOLDER).read_entries_of(self.person):
                    return True
        kinds = (*self.handlers, *_HANDLERS, BaseModelErasure(), Profiles(main.dataset))
        return bool(self._find_effects(found, kinds))

    def _preview_effects(self, main: Redaction, found: PersonInventory) -> list[ErasureEffect]:
        """What there is, as if it had been done; what becomes of others' things is not tried."""
        out = list_effects(main, self.data) if main.is_needed else []
        out += [e for other in found.datasets for e in list_effects(other, other.dataset.folder)]
        out += [
            ErasureEffect(what="pieces", where=pool, outcome="removed", person=self.person)
            for pool, _ in found.pools
        ]
        kinds = (
            *self.handlers,
            *_HANDLERS,
            BaseModelErasure(),
            Profiles(main.dataset),
            *WORK_IN_PROGRESS,
        )
        return out + self._find_effects(found, kinds)

    def _find_effects(
        self, found: PersonInventory, holders: Sequence[ErasureHandler]
    ) -> list[ErasureEffect]:
        out: list[ErasureEffect] = []
        for folder in found.folders:
            for holder in holders:
                with found.collect_errors():
                    if what := holder.find(folder, found.request):
                        out.append(ErasureEffect(what=what, where=folder, outcome="removed"))
        return out

    def _scan_files(self, found: PersonInventory) -> tuple[ScanHit, ...]:
        readers = [self._dataset_handler.scan, *(h.scan for h in self.handlers)]
        whose = self.person if self._is_whole_person else ""
        tops = [folder for folder in self.search_roots if folder.is_dir()]
        return scan_tree(
            tops,
            whose,
            found.request.patterns,
            readers=readers,
            foreign_folders=found.foreign_folders,
            excluded=self._caller_files,
        )

    def _explain_nothing_found(self, main: Redaction) -> str:
        people = main.dataset.people
        example = f"; {self.data} has {len(people)} people, e.g. {people[0]!r}" if people else ""
        return (
            f"nothing of {self.person!r} is in {', '.join(map(str, self.search_roots))}: never "
            "there, or "
            f"forgotten already (--verify looks through every byte){example}"
        )


def _require_adapters(folder: Path) -> None:
    """Raise MissingError where no adapters or recipes are."""
    kinds: tuple[type[BaseBoundArtifact], ...] = (AdapterStore, RecipeStore)
    if not any((folder / kind.HEADER_FILE).is_file() for kind in kinds):
        raise MissingError(f"{folder}: no adapter store there, and no recipes; name the folder")
