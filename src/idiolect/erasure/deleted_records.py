"""Records are forgotten that the data holds no more: the adapter that still knows them is negated.

They cannot be left out of a training, since nobody has them but in a file of pairs. All else that
followed from the adapter is treated as where records are forgotten that still are in the data.
The adapter is replaced after what is known by its numbers, so that a kill is finished by the same
call; the dataset comes last.
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
from idiolect.erasure.deleted_rows import DeletedRows, find_remaining_rows, iter_own_texts
from idiolect.erasure.forget import ForgetRequest
from idiolect.erasure.inventory import PersonInventory, is_stale, read_last_items
from idiolect.erasure.negate_adapter import NegationResult, negate_pairs
from idiolect.erasure.receipt import Receipt
from idiolect.errors import BusyError, MissingError, UsageError
from idiolect.history.dataset import Dataset, read_dataset
from idiolect.history.erasure import DatasetErasure
from idiolect.history.redact import Redaction
from idiolect.models.encoder import MiniLM
from idiolect.models.erasure import BaseModelErasure
from idiolect.privacy.erasure import ErasureEffect
from idiolect.privacy.patterns import SearchPatterns
from idiolect.profiles.store import load_profiles as load_profiles
from idiolect.prompt_sets.pairs import Pair, hash_pairs, read_pairs
from idiolect.prompts.context import PersonContext
from idiolect.prompts.render import PromptRenderer
from idiolect.tasks.registry import get_task
from idiolect.training.runs.plan import PersonalConfig
from idiolect.unlearning.run import UnlearnConfig

RECORDS_NEGATED = "records negated"
"""What the ledger says of it, under a pseudonym."""


@dataclass(frozen=True, kw_only=True)
class ForgetDeletedRecords(ForgetRequest):
    """One call of ``forget`` with a file of what is gone."""

    pairs_file: Path
    """Pairs of prompt and response."""
    unlearn_config: UnlearnConfig = field(default_factory=UnlearnConfig)
    """How they are negated; modules, prompts and dtype are those of the store."""
    _negation_results: list[NegationResult] = field(
        default_factory=list[NegationResult], init=False, repr=False
    )

    def run(self, *, verify: bool = False, dry_run: bool = False) -> Receipt:
        """Do it, or say what would be done; see ``api.forget``."""
        done = super().run(verify=verify, dry_run=dry_run)
        return replace(
            done,
            gone=len(self._deleted_pairs),
            negated=next(iter(self._negation_results), None),
            kept=self._caller_files,
        )

    @cached_property
    def _deleted_pairs(self) -> tuple[Pair, ...]:
        return read_pairs(self.pairs_file, side="forget")

    @cached_property
    def _stored_record(self) -> AdapterRecord:
        """What the store knows of them; raises MissingError where it has no adapter of theirs."""
        store = AdapterStore.open(self.adapters)
        record = store.get_record(self.person)
        if record is None or get_usable_adapter(store, self.person) is None:
            why = f"the base serves them ({record.served})" if record else "it does not know them"
            raise MissingError(
                f"{self.adapters}: there is no adapter of {self.person!r} to take anything out of: "
                f"{why}"
            )
        return record

    @property
    def _made_by(self) -> str:
        """Nothing that ``personalize`` would make: it trains them anew, on their data alone."""
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
        told: dict[str, Any] = {"pairs": len(self._deleted_pairs)}
        return RECORDS_NEGATED, told | (
            {"scale": self._negation_results[0].scale} if self._negation_results else {}
        )

    def _plan_redaction(self) -> Redaction:
        """The dataset without what still quotes them; raises where negation is not what is
        wanted."""
        pairs, record, dataset = self._deleted_pairs, self._stored_record, read_dataset(self.data)
        store, task = AdapterStore.open(self.adapters), get_task(dataset.task)
        store.check_compatible(base=store.base, task=task.name)
        if not task.labelled:
            raise UsageError(
                f"histories of {task.name} hold no answers, so no pairs can have been trained on"
            )
        said = f"idiolect forget {self.data} {self.adapters} --person {self.person}"
        if self.person not in dataset or not dataset.get_counts(self.person)[0]:
            raise UsageError(
                f"{self.data}: none of the items of {self.person!r} is left to retain; forget the "
                f"whole person: {said}"
            )
        history = dataset.read_history(self.person)
        if there := find_remaining_rows(task, history, pairs):
            raise UsageError(
                f"{self.pairs_file}: {len(there)} of its pairs still are in {self.data}; these are "
                f"forgotten exactly: {said} --records {there[0]}"
            )
        main = Redaction(
            dataset,
            self.person,
            task,
            records=[_make_record_id(pair) for pair in pairs],
            texts=list(iter_own_texts(task, pairs)),
            keep_joint=self.config.keep_joint,
        )
        if not is_stale(record, history, read_last_items(store)):
            raise UsageError(
                f"{self.adapters}: the adapter of {self.person!r} was trained on just what "
                f"{self.data} holds of them now, so it never saw what {self.pairs_file} says"
            )
        return main

    def _has_work(self, main: Redaction, found: PersonInventory) -> bool:
        """Whether there is anything to do; raises UsageError where negation does not reach."""
        self._require_reach(found)
        if self._is_already_negated:  # what they have now is what may be had
            texts = found.request.patterns.texts
            found.request = replace(found.request, patterns=SearchPatterns(texts))
        return not self._is_already_negated or main.is_needed or bool(found.datasets)

    def _require_reach(self, found: PersonInventory) -> None:
        """What an adapter stands on or started from knows what it was made of, too."""
        store = AdapterStore.open(self.adapters)
        if BaseModelErasure().find(Path(self.base or store.base_source), found.request):
            raise UsageError(
                f"{store.base_source}: this base was adapted on items of {self.person!r}, too, and "
                "taking something out of their adapter does not take it out of the base; adapt it "
                "anew (idiolect adapt), and personalize on it"
            )
        if store.settings.get("start") in found.request.files:
            raise UsageError(
                f"{self.adapters}: training started from a mean of adapters that {self.person!r} "
                "is in; make the mean anew without them, and personalize from it"
            )

    def _explain_nothing_found(self, main: Redaction) -> str:
        return (
            f"what {self.pairs_file} says is taken out of the adapter of {self.person!r} already "
            "(--verify looks through every byte)"
        )

    def _erase_derived(self, found: PersonInventory, dataset: Dataset) -> list[ErasureEffect]:
        """What followed from the adapter, and the adapter itself; first it is seen that it can
        be."""
        if self._is_already_negated:
            return []
        made, figures = self._negate_adapter(dataset)
        out = super()._erase_derived(found, dataset)
        self._store_adapter(made)
        self._negation_results.append(figures)
        return [*out, self._make_effect(figures.summary_text)]

    def _preview_effects(self, main: Redaction, found: PersonInventory) -> list[ErasureEffect]:
        mine = (
            []
            if self._is_already_negated
            else [self._make_effect(f"{len(self._deleted_pairs)} pairs would be negated")]
        )
        return [*super()._preview_effects(main, found), *mine]

    def _negate_adapter(self, dataset: Dataset) -> tuple[Adapter, NegationResult]:
        """Their adapter, negated in memory."""
        store = AdapterStore.open(self.adapters)
        settings = from_plain(PersonalConfig, store.settings, where=str(self.adapters))
        adapter, base = store.get_adapter(self.person), load_matching_base(store, self.base)
        assert adapter is not None
        if settings.context.profile and self.profiles is None:
            raise UsageError("context.profile is on: name the profiles (idiolect profile)")
        told = load_profiles(self.profiles, task=dataset.task) if self.profiles else {}
        history = dataset.read_history(self.person)
        person = PersonContext(
            history.take_last(settings.last_items) if settings.last_items else history,
            get_task(dataset.task),
            PromptRenderer(base.tokenizer, settings.prompt),
            settings.context,
            profiles=told.get(self.person, ()),
            encoder=MiniLM() if settings.context.retrieval == "dense" else None,
            seed=settings.train.seed,
        )
        return negate_pairs(
            base, adapter, person, self._deleted_pairs, self.unlearn_config, listener=self.listener
        )

    def _store_adapter(self, made: Adapter) -> None:
        """Store it in the place of what was negated."""
        store = AdapterStore.open(self.adapters)
        with store.lock_for_writing(wait=self.wait):
            if not store.contains_record(self._stored_record):
                raise BusyError(
                    f"{self.adapters}: the adapter of {self.person!r} was trained anew meanwhile; "
                    "run the command again"
                )
            record = replace(
                self._stored_record, made_by=self._made_by, gate_base=None, gate_adapter=None
            )
            store.add([(record, made)])
            store.compact()

    def _make_effect(self, why: str) -> ErasureEffect:
        return ErasureEffect(
            what="adapter", where=self.adapters, outcome="rebuilt", person=self.person, why=why
        )


def _make_record_id(pair: Pair) -> str:
    """What stands for the id that a gone record had: nobody's, and the same for the same pair."""
    return compute_fingerprint([pair.prompt, pair.response])
