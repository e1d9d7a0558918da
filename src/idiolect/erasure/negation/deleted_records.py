"""Forgets records that are no longer in the dataset, by negating the adapter that still knows them.

Exact retraining cannot remove such records: they exist only in a file of pairs that the caller
gives. Everything derived from the adapter is handled as for records that are still in the dataset
(``forget.py``).

Order: copies are found by the adapter's tensor signatures, so the adapter is replaced after them,
and the dataset last. After a crash, the same call finishes the work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from idiolect.adapters.formats.exchange import load_matching_base
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.store.source import get_usable_adapter
from idiolect.adapters.store.store import AdapterRecord, AdapterStore
from idiolect.config import compute_fingerprint, from_plain
from idiolect.erasure.forget import ForgetRequest
from idiolect.erasure.inventory import PersonInventory
from idiolect.erasure.negation.deleted_rows import DeletedRows, find_remaining_rows, iter_own_texts
from idiolect.erasure.negation.negate_adapter import negate_pairs
from idiolect.erasure.negation_result import NegationResult
from idiolect.erasure.origins import is_stale, read_last_items
from idiolect.erasure.receipt import Receipt
from idiolect.erasure.run_state import RunState
from idiolect.errors import BusyError, MissingError, UsageError
from idiolect.history.dataset import Dataset, read_dataset
from idiolect.history.erasure import DatasetErasure
from idiolect.history.redact import Redaction
from idiolect.models.encoder import MiniLM
from idiolect.models.erasure import BaseModelErasure
from idiolect.privacy.erasure import ErasureEffect
from idiolect.profiles.store import load_profiles
from idiolect.prompt_sets.pairs import Pair, hash_pairs, read_pairs
from idiolect.prompts.context import PersonContext
from idiolect.prompts.render import PromptRenderer
from idiolect.tasks.registry import get_task
from idiolect.training.runs.plan import PersonalConfig, find_last_time
from idiolect.unlearning.run import UnlearnConfig

RECORDS_NEGATED = "records negated"
"""Event name in the ledger, stored under the person's pseudonym."""


@dataclass(frozen=True, kw_only=True)
class ForgetDeletedRecords(ForgetRequest):
    """One call of ``forget`` with a file of pairs from deleted records."""

    pairs_file: Path
    """File of prompt-response pairs."""
    unlearn_config: UnlearnConfig = field(default_factory=UnlearnConfig)
    """How the pairs are negated. Target modules, prompt settings, and dtype come from the store."""
    _negation_results: list[NegationResult] = field(
        default_factory=list[NegationResult], init=False, repr=False
    )

    def _add_details(self, receipt: Receipt) -> Receipt:
        """Add the number of pairs, and the result of the negation."""
        return replace(
            receipt,
            gone=len(self._deleted_pairs),
            negated=next(iter(self._negation_results), None),
        )

    @cached_property
    def _deleted_pairs(self) -> tuple[Pair, ...]:
        return read_pairs(self.pairs_file, side="forget")

    @cached_property
    def _stored_record(self) -> AdapterRecord:
        """The person's record in the store. Raises MissingError if the store has no adapter of the
        person."""
        store = AdapterStore.open(self.adapters)
        record = store.get_record(self.person)
        if record is None or get_usable_adapter(store, self.person) is None:
            why = f"the base serves them ({record.served})" if record else "it is not in the store"
            raise MissingError(
                f"{self.adapters}: no adapter of {self.person!r} to remove anything from: {why}"
            )
        return record

    @property
    def _made_by(self) -> str:
        """Fingerprint of settings and pairs, which never equals one of ``personalize``. So
        ``personalize`` retrains the adapter on the dataset alone."""
        settings = {
            n: v for n, v in self.unlearn_config.effective_settings.items() if n != "device"
        }
        return f"negated {compute_fingerprint([settings, hash_pairs(self._deleted_pairs)])}"

    @property
    def _is_already_negated(self) -> bool:
        return self._stored_record.made_by == self._made_by

    @property
    def _is_whole_person(self) -> bool:
        return False

    @property
    def _caller_files(self) -> tuple[Path, ...]:
        return (self.pairs_file,)

    @property
    def _excluded_store(self) -> Path | None:
        return self.adapters

    @property
    def _dataset_handler(self) -> DatasetErasure:
        task = get_task(AdapterStore.open(self.adapters).task)
        return DeletedRows(get_task, task, self._deleted_pairs, keep_joint=self.config.keep_joint)

    @property
    def _ledger_event(self) -> tuple[str, Mapping[str, Any]]:
        details: dict[str, Any] = {"pairs": len(self._deleted_pairs)}
        return RECORDS_NEGATED, details | (
            {"scale": self._negation_results[0].scale} if self._negation_results else {}
        )

    def _plan_redaction(self) -> Redaction:
        """Plan the removal of rows that still quote the pairs from the dataset. Raises UsageError
        if negation is the wrong tool."""
        pairs, record, dataset = self._deleted_pairs, self._stored_record, read_dataset(self.data)
        store, task = AdapterStore.open(self.adapters), get_task(dataset.task)
        store.check_compatible(base=store.base, task=task.name)
        # Without answers, or without other items to retain, negation cannot work.
        if not task.labeled:
            raise UsageError(
                f"histories of {task.name} contain no answers, so no adapter was trained on pairs"
            )
        command = f"idiolect forget {self.data} {self.adapters} --person {self.person}"
        if self.person not in dataset or not dataset.get_counts(self.person)[0]:
            raise UsageError(
                f"{self.data}: no items of {self.person!r} are left to retain; forget the whole "
                f"person: {command}"
            )
        # Rows that are still in the dataset can be forgotten exactly, by retraining.
        history = dataset.read_history(self.person)
        if there := find_remaining_rows(task, history, pairs):
            raise UsageError(
                f"{self.pairs_file}: {len(there)} of its pairs are still in {self.data}; forget "
                f"these exactly, by their ids: {command} --records {there[0]}"
            )
        # Other rows may quote the pairs' texts, so the deleted texts are searched for as well.
        main = Redaction(
            dataset,
            self.person,
            task,
            records=[_make_record_id(pair) for pair in pairs],
            texts=list(iter_own_texts(task, pairs)),
            keep_joint=self.config.keep_joint,
        )
        # An adapter trained on the current items cannot know anything that was deleted before.
        if not is_stale(record, history, read_last_items(store)):
            raise UsageError(
                f"{self.adapters}: the adapter of {self.person!r} was trained on exactly the items "
                f"that {self.data} holds now, so it never saw the pairs in {self.pairs_file}"
            )
        return main

    def _has_work(self, main: Redaction, found: PersonInventory) -> bool:
        """Return whether there is anything to do. Raises UsageError if negating the adapter is not
        enough."""
        self._require_reach(found)
        if self._is_already_negated:
            # The stored adapter is the negated one, so its signatures must not count as traces.
            patterns = replace(found.request.patterns, tensors=frozenset())
            found.request = replace(found.request, patterns=patterns)
        return not self._is_already_negated or main.is_needed or bool(found.datasets)

    def _require_reach(self, found: PersonInventory) -> None:
        """Raise UsageError if the base, or the initial adapter, was made from the person's items as
        well."""
        store = AdapterStore.open(self.adapters)
        if BaseModelErasure().find(Path(self.base or store.base_source), found.request):
            raise UsageError(
                f"{store.base_source}: this base was also adapted on items of {self.person!r}, and "
                "negating the adapter does not remove them from the base; adapt the base again "
                "(idiolect adapt), and personalize on it"
            )
        if store.settings.get("start") in found.request.files:
            raise UsageError(
                f"{self.adapters}: training started from a mean of adapters that includes "
                f"{self.person!r}; make the mean again without this person, and personalize from it"
            )

    def _explain_nothing_found(self, main: Redaction) -> str:
        return (
            f"the pairs in {self.pairs_file} were already removed from the adapter of "
            f"{self.person!r} (--verify searches every byte)"
        )

    def _erase_derived(
        self, found: PersonInventory, dataset: Dataset, state: RunState
    ) -> list[ErasureEffect]:
        """Erase what was derived from the adapter, then replace the adapter. Negation runs first,
        so that nothing is erased if it fails."""
        if self._is_already_negated:
            return []
        negated = None if state.is_dry_run else self._negate_adapter(dataset)
        out = super()._erase_derived(found, dataset, state)
        if negated is not None:
            adapter, result = negated
            self._store_adapter(adapter)
            self._negation_results.append(result)
        return [*out, self._make_effect(f"negated {len(self._deleted_pairs)} pairs")]

    def _negate_adapter(self, dataset: Dataset) -> tuple[Adapter, NegationResult]:
        """Return the person's adapter, negated in memory."""
        store = AdapterStore.open(self.adapters)
        settings = from_plain(PersonalConfig, store.settings, where=str(self.adapters))
        adapter, base = store.get_adapter(self.person), load_matching_base(store, self.base)
        assert adapter is not None
        if settings.context.profile and self.profiles is None:
            raise UsageError("context.profile is on: give the profiles (idiolect profile)")
        profiles = load_profiles(self.profiles, task=dataset.task) if self.profiles else {}
        history = dataset.read_history(self.person)
        # Prompts are built with the store's settings, as in training.
        person = PersonContext(
            history.take_last(settings.last_items) if settings.last_items else history,
            get_task(dataset.task),
            PromptRenderer(base.tokenizer, settings.prompt),
            settings.context,
            profiles=profiles.get(self.person, ()),
            encoder=MiniLM() if settings.context.retrieval == "dense" else None,
            seed=settings.train.seed,
        )
        return negate_pairs(
            base, adapter, person, self._deleted_pairs, self.unlearn_config, listener=self.listener
        )

    def _store_adapter(self, adapter: Adapter) -> None:
        """Replace the person's adapter in the store."""
        store = AdapterStore.open(self.adapters)
        with store.lock_for_writing(wait=self.wait):
            # Between reading and locking, another process may have retrained the adapter.
            if not store.contains_record(self._stored_record):
                raise BusyError(
                    f"{self.adapters}: the adapter of {self.person!r} was retrained meanwhile; run "
                    "the command again"
                )
            # The holdout gate's losses are those of the old adapter, so they are dropped.
            # The next `personalize` on the shorter history must not be refused as older.
            history = read_dataset(self.data).read_history(self.person)
            record = replace(
                self._stored_record,
                made_by=self._made_by,
                gate_base=None,
                gate_adapter=None,
                total=len(history.items),
                until=find_last_time(history),
            )
            store.add([(record, adapter)])
            store.compact()

    def _make_effect(self, why: str) -> ErasureEffect:
        return ErasureEffect(
            what="adapter", where=self.adapters, outcome="rebuilt", person=self.person, why=why
        )


def _make_record_id(pair: Pair) -> str:
    """Return a substitute id for a deleted record: unique to the pair, and stable across calls."""
    return compute_fingerprint([pair.prompt, pair.response])
