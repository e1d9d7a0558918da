"""Forgets a person, or some of a person's records, everywhere below some folders, in a fixed order.

The person's dataset is rewritten last and in one step. Until then it shows which person and what
to forget, so that after a crash at any moment the same call finds the rest and finishes.

Other people's artifacts that were derived from the person's words are rebuilt from the remaining
histories, discarded, or refused; no other artifact changes. Every package that stores personal data
provides an ``ErasureHandler``; handlers of packages above this one are passed in.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from idiolect.adapters.erasure import CopiedAdapterErasure, ExportErasure, StoreErasure
from idiolect.adapters.store.store import AdapterStore
from idiolect.erasure.derived import DerivedArtifacts
from idiolect.erasure.estimate import estimate_rebuilding
from idiolect.erasure.inventory import (
    LEDGER_FOLDER,
    PersonInventory,
    collect_inventory,
    require_adapters,
)
from idiolect.erasure.receipt import Receipt, ReceiptFile
from idiolect.erasure.run_state import RunState
from idiolect.errors import MissingError
from idiolect.events import Listener, Message, null_listener
from idiolect.history.dataset import Dataset, read_dataset
from idiolect.history.erasure import DatasetErasure, list_effects, rewrite_dataset
from idiolect.history.redact import Redaction
from idiolect.history.redacted_dataset import RedactedDataset
from idiolect.history.suppress import add_to_lists, find_list_beside
from idiolect.models.erasure import BaseModelErasure
from idiolect.pieces.erasure import RecipeErasure
from idiolect.privacy.erasure import ErasureEffect, ErasureHandler
from idiolect.privacy.ledger import Ledger
from idiolect.privacy.search.file_search import UnsearchedFile
from idiolect.privacy.search.patterns import HashedPatterns
from idiolect.privacy.search.scan import ScanResult, scan_tree
from idiolect.profiles.erasure import Profiles
from idiolect.storage.files import hold_lock, stage_folder
from idiolect.storage.tree import is_walked, require_no_outside_links
from idiolect.tasks.registry import get_task
from idiolect.training.erasure import PartErasure

FORGOTTEN, RECORDS_FORGOTTEN = "forgotten", "records forgotten"
"""Event names in the ledger, stored under the person's pseudonym."""
_HANDLERS: tuple[ErasureHandler, ...] = (
    CopiedAdapterErasure(),
    ExportErasure(),
    RecipeErasure(),
    PartErasure(),
    StoreErasure(),
)


class NothingFoundError(MissingError):
    """Nothing of the person was found: never stored, or already forgotten."""


@dataclass(frozen=True, kw_only=True)
class ForgetConfig:
    """How a person is forgotten."""

    rebuild: bool = True
    """Whether other people's artifacts that were derived from the person's words are rebuilt if
    possible. Otherwise they are discarded."""
    keep_joint: bool = False
    """Whether records that belong to several people (a co-authored paper) stay in the other
    people's histories."""
    suppress: bool = True
    """Whether hashes of what is forgotten are added to the suppression lists beside the dataset and
    the store, so that the next import leaves it out."""


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
    """Additional handlers, from packages above this one."""
    receipt_file: Path | None = None
    """File of the receipt. If an earlier run has written it, what that run deleted is searched for
    as well."""
    on_erased: Callable[[Receipt], None] | None = None
    """Receives the receipt after everything is erased, and before the search for what is left."""
    wait: bool = True
    listener: Listener = null_listener

    @property
    def search_roots(self) -> tuple[Path, ...]:
        """The folders to search: the given ones, by default the parents of data and adapters; and
        always these two. A folder inside another one is searched once."""
        parents = (self.data.absolute().parent, self.adapters.absolute().parent)
        wanted = (*(self.search_folders or parents), self.data, self.adapters)
        # Resolved paths detect nesting; the paths as given are what receipts show.
        by_path = {folder.resolve(): folder for folder in reversed(wanted)}
        return tuple(
            by_path[path]
            for path in sorted(by_path)
            if not any(path != other and path.is_relative_to(other) for other in by_path)
        )

    def run(self, *, verify: bool = False, dry_run: bool = False) -> Receipt:
        """Forget, or report what would change; see ``api.forget``."""
        started = time.monotonic()
        for folder in self.search_folders:
            if not folder.is_dir():
                raise MissingError(f"{folder}: no such folder to search")
        require_adapters(self.adapters)
        require_no_outside_links(self.adapters)
        # The dataset stays locked from planning to rewriting, so that no record is added meanwhile.
        with hold_lock(self.data, wait=self.wait, what="the dataset"):
            main = self._plan_redaction()
            found = collect_inventory(
                main, self.search_roots, [self.adapters], self._dataset_handler
            )
            if (earlier := self._earlier_patterns) is not None:
                patterns = replace(found.request.patterns, hashed=earlier)
                found.request = replace(found.request, patterns=patterns)
            has_work = self._has_work(main, found)
            if not has_work and not verify:
                raise NothingFoundError(self._explain_nothing_found(main))
            receipt = Receipt(
                person=self.person,
                records=self.records,
                searched=self.search_roots,
                effects=(),
                unreadable=(),
                done=not dry_run,
                verified=False,
                too_short=found.unsearchable_count,
                kept=self._caller_files,
            )
            if not dry_run:
                # The hashes are kept first: after a kill, no file may tell the words any more.
                self._save_receipt(receipt, found)
            # Training again is what takes long, so it is said before it begins.
            effects = self._erase_everything(main, found, is_dry_run=True) if has_work else []
            if (estimate := estimate_rebuilding(effects)) is not None:
                self.listener(Message(text=estimate.format_text()))
            if has_work and not dry_run:
                effects = self._erase_everything(main, found, is_dry_run=False)
        receipt = replace(
            self._add_details(receipt),
            effects=tuple(effects),
            unreadable=tuple(found.unreadable),
            seconds=time.monotonic() - started,
        )
        if dry_run:
            return receipt
        # The receipt exists before the search begins, whatever happens then.
        self._save_receipt(receipt, found)
        if self.on_erased is not None:
            self.on_erased(receipt)
        if not verify:
            return receipt
        # Verification searches every byte below the folders, not only what the handlers know.
        result = self._scan_files(found)
        receipt = replace(
            receipt,
            verified=True,
            left=result.hits,
            unsearched=(*self._explain_unknown_words(main, found), *result.unsearched),
            searched_files=result.files,
            unreadable=tuple(found.unreadable),
            seconds=time.monotonic() - started,
        )
        self._save_receipt(receipt, found)
        return receipt

    def _add_details(self, receipt: Receipt) -> Receipt:
        """Add to the receipt what only this kind of request knows."""
        return receipt

    @cached_property
    def _earlier_patterns(self) -> HashedPatterns | None:
        """What the run that wrote the receipt file deleted, as hashes."""
        if self.receipt_file is None:
            return None
        return ReceiptFile(path=self.receipt_file).load_patterns(self.person, self.records)

    def _save_receipt(self, receipt: Receipt, found: PersonInventory) -> None:
        if self.receipt_file is not None:
            ReceiptFile(path=self.receipt_file).save_receipt(receipt, found.request.patterns)

    def _explain_unknown_words(
        self, main: Redaction, found: PersonInventory
    ) -> tuple[UnsearchedFile, ...]:
        """Say that the words could not be searched for: no dataset holds them any more."""
        patterns = found.request.patterns
        if patterns.texts or patterns.has_short or patterns.hashed:
            return ()
        if found.unsearchable_count or main.is_needed:
            return ()
        why = (
            "the words are no longer in any dataset, so only the id was searched for; to search "
            "for them after the deletion, keep its receipt (--receipt FILE)"
        )
        return (UnsearchedFile(where=self.data, why=why),)

    @property
    def _is_whole_person(self) -> bool:
        """Whether the person is forgotten, not only some of the records."""
        return not self.records

    @property
    def _caller_files(self) -> tuple[Path, ...]:
        """Files of the caller that verification skips."""
        return ()

    @property
    def _excluded_store(self) -> Path | None:
        """See ``DerivedArtifacts.excluded_store``."""
        return None

    @property
    def _ledger_event(self) -> tuple[str, Mapping[str, Any]]:
        """The event for the ledger, and its details."""
        if self._is_whole_person:
            return FORGOTTEN, {}
        return RECORDS_FORGOTTEN, {"records": len(self.records)}

    @property
    def _dataset_handler(self) -> DatasetErasure:
        return DatasetErasure(get_task, keep_joint=self.config.keep_joint)

    def _plan_redaction(self) -> Redaction:
        """Plan what to remove from the dataset. Raises MissingError if a record is not in it."""
        dataset = read_dataset(self.data)
        if self.records and self._earlier_patterns is None:
            # A record that does not exist is an error, so that a typo in an id is noticed.
            history = dataset.read_history(self.person)
            there = {i.id for i in (*history.items, *history.queries)}
            for record in self.records:
                if record not in there:
                    raise MissingError(
                        f"{self.data}: {self.person!r} has no record {record!r}; it never "
                        "existed, or is already forgotten; if an adapter still knows its text: "
                        f"idiolect forget {self.data} {self.adapters} --person {self.person} "
                        "--gone PAIRS"
                    )
        return Redaction(
            dataset,
            self.person,
            get_task(dataset.task),
            records=self.records,
            keep_joint=self.config.keep_joint,
        )

    def _erase_everything(
        self, main: Redaction, found: PersonInventory, *, is_dry_run: bool
    ) -> list[ErasureEffect]:
        """Erase everything, in an order that a second run can finish after a crash.

        A dry run goes through the same steps, changes nothing, and returns the same effects.
        """
        state = RunState(is_dry_run=is_dry_run)
        # The lists come first: after a kill, nothing that was forgotten can be imported again.
        out = self._suppress(main, is_dry_run=is_dry_run)
        with self._stage_dataset(main, is_dry_run=is_dry_run) as dataset:
            # Receipts must name the dataset's final path, not its staging folder.
            staging = str(dataset.folder)
            out += [
                replace(effect, why=effect.why.replace(staging, str(self.data)))
                for effect in self._erase_derived(found, dataset, state)
            ]
            for other in found.datasets:
                if not is_dry_run:
                    rewrite_dataset(other, other.dataset.folder)
                out += list_effects(other, other.dataset.folder)
            out += [e for folder in found.stores for e in self._update_ledger(folder, found, state)]
            if main.is_needed:
                out += list_effects(main, self.data)
        return out

    @contextmanager
    def _stage_dataset(self, main: Redaction, *, is_dry_run: bool) -> Generator[Dataset]:
        """Yield the redacted dataset in a staging folder. It replaces the dataset if the block
        succeeds. In a dry run it is not written."""
        if not main.is_needed or is_dry_run:
            yield RedactedDataset(main) if main.is_needed else main.dataset
            return
        with stage_folder(self.data, replace=True) as stage:
            yield rewrite_dataset(main, stage)

    def _erase_derived(
        self, found: PersonInventory, dataset: Dataset, state: RunState
    ) -> list[ErasureEffect]:
        """Erase or rebuild everything that was derived from the person's words."""
        return DerivedArtifacts(
            inventory=found,
            dataset=dataset,
            search_roots=self.search_roots,
            rebuild=self.config.rebuild,
            base=self.base,
            profiles=self.profiles,
            handlers=self.handlers,
            excluded_store=self._excluded_store,
            state=state,
            wait=self.wait,
            listener=self.listener,
        ).erase_all()

    def _update_ledger(
        self, folder: Path, found: PersonInventory, state: RunState
    ) -> list[ErasureEffect]:
        """Record the event in a store's ledger. For a whole person, then destroy the link to the
        pseudonym, even if the ledger was edited and rejects new events."""
        ledger = Ledger(folder / LEDGER_FOLDER)
        is_known = ledger.knows_person(self.person) or state.is_dropped_from(folder)
        effect = ErasureEffect(
            what="pseudonym", where=folder, outcome="destroyed", person=self.person
        )
        with found.collect_errors():
            has_events = bool(ledger.read_entries_of(self.person))
            if self._is_concerned(folder, found) and has_events and not state.is_dry_run:
                event, details = self._ledger_event
                ledger.record_event(event, [self.person], details)
        if state.is_dry_run:
            return [effect] if self._is_whole_person and is_known else []
        if not self._is_whole_person or not ledger.forget_person(self.person):
            return []
        return [effect]

    def _is_concerned(self, folder: Path, found: PersonInventory) -> bool:
        """Whether the event belongs in a store's ledger: for records, if the person's adapter there
        was not made from another dataset."""
        if self._is_whole_person:
            return True
        store = AdapterStore.open(folder)
        record = store.get_record(self.person)
        return record is not None and found.origins.rebuilds_from_main(store, record)

    def _has_work(self, main: Redaction, found: PersonInventory) -> bool:
        """Return whether anything of the person was found. Work in progress belongs to no one
        person, so it does not count."""
        # Cheap checks first; the handlers have to open every artifact.
        if main.is_needed or found.datasets or found.pools or found.request.patterns.tensors:
            return True
        for folder in found.stores:
            with found.collect_errors():
                if Ledger(folder / LEDGER_FOLDER).read_entries_of(self.person):
                    return True
        kinds = (*self.handlers, *_HANDLERS, BaseModelErasure(), Profiles(main.dataset))
        return found.finds_any(kinds)

    def _suppress(self, main: Redaction, *, is_dry_run: bool) -> list[ErasureEffect]:
        """Add what is forgotten to the lists beside the dataset and the store."""
        contents = None if self._is_whole_person else main.removed_contents
        if not self.config.suppress or (contents is not None and not contents):
            return []
        paths = (find_list_beside(self.data), find_list_beside(self.adapters))
        changed = add_to_lists(
            paths, self.person, main.dataset.task, contents, is_dry_run=is_dry_run
        )
        why = "the next import leaves it out; it holds hashes only"
        return [
            ErasureEffect(what="suppression list", where=path, outcome="added", why=why)
            for path in changed
        ]

    def _scan_files(self, found: PersonInventory) -> ScanResult:
        """Search every file below the search roots for what is left, and what links led to."""
        readers = [self._dataset_handler.scan, *(h.scan for h in self.handlers)]
        roots = [folder for folder in self.search_roots if folder.is_dir()]
        excluded = [*self._caller_files, *([self.receipt_file] if self.receipt_file else [])]
        return scan_tree(
            [*roots, *(path for path in found.linked_paths if is_walked(path, roots))],
            # If only records are forgotten, the person's id is no trace.
            self.person if self._is_whole_person else "",
            found.request.patterns,
            readers=readers,
            foreign_folders=found.foreign_folders,
            excluded=excluded,
        )

    def _explain_nothing_found(self, main: Redaction) -> str:
        people = main.dataset.people
        example = f"; {self.data} has {len(people)} people, e.g. {people[0]!r}" if people else ""
        return (
            f"nothing of {self.person!r} found in {', '.join(map(str, self.search_roots))}: never "
            f"stored, or already forgotten (--verify searches every byte){example}"
        )
