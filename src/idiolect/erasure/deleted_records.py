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

from idiolect.adapters.formats.exchange import base_of
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.store.source import usable_adapter
from idiolect.adapters.store.store import AdapterStore, Record
from idiolect.config import fingerprint, from_plain
from idiolect.erasure.deleted_rows import GoneRows, still_there, texts_of
from idiolect.erasure.forget import Forgetting
from idiolect.erasure.inventory import Belongings, is_stale, last_items
from idiolect.erasure.negate_adapter import Negated, negate
from idiolect.erasure.receipt import Receipt
from idiolect.errors import BusyError, MissingError, UsageError
from idiolect.history.dataset import Dataset, read_dataset
from idiolect.history.erasure import Datasets
from idiolect.history.redact import Redaction
from idiolect.models.encoder import MiniLM
from idiolect.models.erasure import Bases
from idiolect.privacy.erasure import Effect
from idiolect.privacy.patterns import Needles
from idiolect.profiles.store import load as load_profiles
from idiolect.prompt_sets.pairs import Pair, digest, read_pairs
from idiolect.prompts.context import Person
from idiolect.prompts.render import Prompter
from idiolect.tasks.registry import get_task
from idiolect.training.runs.plan import PersonalConfig
from idiolect.unlearning.run import UnlearnConfig

NEGATED = "records negated"
"""What the ledger says of it, under a pseudonym."""


@dataclass(frozen=True, kw_only=True)
class ForgettingGone(Forgetting):
    """One call of ``forget`` with a file of what is gone."""

    gone: Path
    """Pairs of prompt and response."""
    negating: UnlearnConfig = field(default_factory=UnlearnConfig)
    """How they are negated; modules, prompts and dtype are those of the store."""
    _made: list[Negated] = field(default_factory=list[Negated], init=False, repr=False)

    def run(self, *, verify: bool = False, dry_run: bool = False) -> Receipt:
        """Do it, or say what would be done; see ``api.forget``."""
        done = super().run(verify=verify, dry_run=dry_run)
        return replace(
            done, gone=len(self._pairs), negated=next(iter(self._made), None), kept=self._theirs
        )

    @cached_property
    def _pairs(self) -> tuple[Pair, ...]:
        return read_pairs(self.gone, side="forget")

    @cached_property
    def _record(self) -> Record:
        """What the store knows of them; raises MissingError where it has no adapter of theirs."""
        store = AdapterStore.open(self.adapters)
        record = store.record(self.person)
        if record is None or usable_adapter(store, self.person) is None:
            why = f"the base serves them ({record.served})" if record else "it does not know them"
            raise MissingError(
                f"{self.adapters}: there is no adapter of {self.person!r} to take anything out of: "
                f"{why}"
            )
        return record

    @property
    def _made_by(self) -> str:
        """Nothing that ``personalize`` would make: it trains them anew, on their data alone."""
        settings = {n: v for n, v in self.negating.resolved.items() if n != "device"}
        return f"negated {fingerprint([settings, digest(self._pairs)])}"

    @property
    def _already(self) -> bool:
        return self._record.made_by == self._made_by

    @property
    def _whole(self) -> bool:
        return False

    @property
    def _theirs(self) -> tuple[Path, ...]:
        return (self.gone,)

    @property
    def _spared(self) -> Path | None:
        return self.adapters

    @property
    def _datasets(self) -> Datasets:
        task = get_task(AdapterStore.open(self.adapters).task)
        return GoneRows(get_task, task, self._pairs, keep_joint=self.config.keep_joint)

    @property
    def _event(self) -> tuple[str, Mapping[str, Any]]:
        told: dict[str, Any] = {"pairs": len(self._pairs)}
        return NEGATED, told | ({"scale": self._made[0].scale} if self._made else {})

    def _main(self) -> Redaction:
        """The dataset without what still quotes them; raises where negation is not what is
        wanted."""
        pairs, record, dataset = self._pairs, self._record, read_dataset(self.data)
        store, task = AdapterStore.open(self.adapters), get_task(dataset.task)
        store.require(base=store.base, task=task.name)
        if not task.labelled:
            raise UsageError(
                f"histories of {task.name} hold no answers, so no pairs can have been trained on"
            )
        said = f"idiolect forget {self.data} {self.adapters} --person {self.person}"
        if self.person not in dataset or not dataset.counts(self.person)[0]:
            raise UsageError(
                f"{self.data}: none of the items of {self.person!r} is left to retain; forget the "
                f"whole person: {said}"
            )
        history = dataset.history(self.person)
        if there := still_there(task, history, pairs):
            raise UsageError(
                f"{self.gone}: {len(there)} of its pairs still are in {self.data}; these are "
                f"forgotten exactly: {said} --records {there[0]}"
            )
        main = Redaction(
            dataset,
            self.person,
            task,
            records=[_name(pair) for pair in pairs],
            texts=list(texts_of(task, pairs)),
            keep_joint=self.config.keep_joint,
        )
        if not is_stale(record, history, last_items(store)):
            raise UsageError(
                f"{self.adapters}: the adapter of {self.person!r} was trained on just what "
                f"{self.data} holds of them now, so it never saw what {self.gone} says"
            )
        return main

    def _known(self, main: Redaction, found: Belongings) -> bool:
        """Whether there is anything to do; raises UsageError where negation does not reach."""
        self._require_reach(found)
        if self._already:  # what they have now is what may be had
            texts = found.leaving.needles.texts
            found.leaving = replace(found.leaving, needles=Needles(texts))
        return not self._already or main.any or bool(found.datasets)

    def _require_reach(self, found: Belongings) -> None:
        """What an adapter stands on or started from knows what it was made of, too."""
        store = AdapterStore.open(self.adapters)
        if Bases().find(Path(self.base or store.base_source), found.leaving):
            raise UsageError(
                f"{store.base_source}: this base was adapted on items of {self.person!r}, too, and "
                "taking something out of their adapter does not take it out of the base; adapt it "
                "anew (idiolect adapt), and personalize on it"
            )
        if store.settings.get("start") in found.leaving.files:
            raise UsageError(
                f"{self.adapters}: training started from a mean of adapters that {self.person!r} "
                "is in; make the mean anew without them, and personalize from it"
            )

    def _nothing(self, main: Redaction) -> str:
        return (
            f"what {self.gone} says is taken out of the adapter of {self.person!r} already "
            "(--verify looks through every byte)"
        )

    def _derived(self, found: Belongings, dataset: Dataset) -> list[Effect]:
        """What followed from the adapter, and the adapter itself; first it is seen that it can
        be."""
        if self._already:
            return []
        made, figures = self._negated(dataset)
        out = super()._derived(found, dataset)
        self._put(made)
        self._made.append(figures)
        return [*out, self._effect(figures.told)]

    def _would(self, main: Redaction, found: Belongings) -> list[Effect]:
        mine = [] if self._already else [self._effect(f"{len(self._pairs)} pairs would be negated")]
        return [*super()._would(main, found), *mine]

    def _negated(self, dataset: Dataset) -> tuple[Adapter, Negated]:
        """Their adapter, negated in memory."""
        store = AdapterStore.open(self.adapters)
        settings = from_plain(PersonalConfig, store.settings, where=str(self.adapters))
        adapter, base = store.adapter(self.person), base_of(store, self.base)
        assert adapter is not None
        if settings.context.profile and self.profiles is None:
            raise UsageError("context.profile is on: name the profiles (idiolect profile)")
        told = load_profiles(self.profiles, task=dataset.task) if self.profiles else {}
        history = dataset.history(self.person)
        person = Person(
            history.last(settings.last_items) if settings.last_items else history,
            get_task(dataset.task),
            Prompter(base.tokenizer, settings.prompt),
            settings.context,
            profiles=told.get(self.person, ()),
            encoder=MiniLM() if settings.context.retrieval == "dense" else None,
            seed=settings.train.seed,
        )
        return negate(base, adapter, person, self._pairs, self.negating, listener=self.listener)

    def _put(self, made: Adapter) -> None:
        """Store it in the place of what was negated."""
        store = AdapterStore.open(self.adapters)
        with store.writing(wait=self.wait):
            if not store.knows(self._record):
                raise BusyError(
                    f"{self.adapters}: the adapter of {self.person!r} was trained anew meanwhile; "
                    "run the command again"
                )
            record = replace(self._record, made_by=self._made_by, gate_base=None, gate_adapter=None)
            store.add([(record, made)])
            store.compact()

    def _effect(self, why: str) -> Effect:
        return Effect(
            what="adapter", where=self.adapters, outcome="made anew", person=self.person, why=why
        )


def _name(pair: Pair) -> str:
    """What stands for the id that a gone record had: nobody's, and the same for the same pair."""
    return fingerprint([pair.prompt, pair.response])
