"""One call of ``personalize`` as a value, and who does it, with base, data and profiles at hand.

Knows folders and how a ``Personalizer`` is made; knows nothing of shards or clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from idiolect.adapters.formats.peft import WEIGHTS, load_peft
from idiolect.adapters.lora import LoraAdapter
from idiolect.adapters.store.source import sharers_in
from idiolect.adapters.store.store import AdapterStore
from idiolect.config import to_plain
from idiolect.errors import MismatchError, MissingError, UsageError
from idiolect.events import Listener, both, silent
from idiolect.history.dataset import Dataset, read_dataset
from idiolect.models.base import load_base
from idiolect.models.cpu.shape_caches import bound_shape_caches
from idiolect.models.encoder import MiniLM
from idiolect.privacy.ledger import Ledger
from idiolect.profiles.store import load as load_profiles
from idiolect.storage.files import sha256_file
from idiolect.storage.metrics_log import MetricsLog
from idiolect.tasks.registry import get_task
from idiolect.training.engine.config import EngineConfig
from idiolect.training.runs.initial_adapters import SameStart, Starts
from idiolect.training.runs.personalize import Personalizer
from idiolect.training.runs.plan import Mode, PersonalConfig, Planner
from idiolect.training.runs.summary import PersonalSummary


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is asked for; plain enough to be sent to another machine that sees the same folders."""

    data: Path
    store: Path
    base: str = "default"
    config: PersonalConfig = field(default_factory=PersonalConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    people: tuple[str, ...] = ()
    """These people only; all of the dataset where nobody is named."""
    profiles: Path | None = None
    mode: Mode = "afresh"
    start: Path | None = None
    """Folder of a PEFT adapter from which everyone starts, where ``config.start`` names one."""
    starts: Callable[[], Starts] | None = None
    """Opens where each person starts, where that is made of pieces (``config.pool``)."""

    def dataset(self) -> Dataset:
        """The dataset, with everything said that can be wrong before anything is made."""
        dataset = read_dataset(self.data)
        get_task(dataset.task)
        for person in self.people:
            dataset.counts(person)
        if self.config.context.profile and self.profiles is None:
            raise UsageError(
                "context.profile is on: name the profiles (idiolect profile writes them)"
            )
        return dataset


def starting_from(config: PersonalConfig, start: Path | None) -> PersonalConfig:
    """The settings with the adapter that everyone starts from, by its weights' sha256."""
    if start is None:
        return replace(config, start="", pool=None)
    if not (start / WEIGHTS).is_file():
        raise MissingError(f"{start}: no adapter in PEFT's format there (it has no {WEIGHTS})")
    return replace(config, start=sha256_file(start / WEIGHTS), pool=None)


class Worker:
    """Does a work, or parts of it, with one base."""

    def __init__(self, work: Work, *, listener: Listener = silent) -> None:
        bound_shape_caches()
        self.work, self.listener = work, listener
        self.dataset = work.dataset()
        self.task = get_task(self.dataset.task)
        if work.config.lora.active == "answer" and not self.task.labelled:
            raise UsageError(
                f"lora.active 'answer': histories of {self.task.name} hold no answers to train on; "
                "use 'all'"
            )
        self.people = tuple(dict.fromkeys(work.people)) or self.dataset.people
        told = work.profiles
        self.profiles = load_profiles(told, task=self.task.name) if told else None
        self.base = load_base(work.base, dtype=work.config.dtype, device=work.config.device)
        self.starts = self._starts()
        self.encoder = MiniLM() if work.config.context.retrieval == "dense" else None

    def _starts(self) -> Starts | None:
        """Where everyone starts; raises where somebody has no start to use."""
        assert (self.work.config.pool is None) == (self.work.starts is None)
        if self.work.starts is None:
            start, folder = self._start(), self.work.start
            return SameStart(start, sharers_in(folder)) if start and folder else None
        starts = self.work.starts()
        starts.require_all(self.people)
        return starts

    def _start(self) -> LoraAdapter | None:
        """The adapter that everyone starts from, if it still is the one that was named."""
        folder, config = self.work.start, self.work.config
        if starting_from(config, folder) != config:
            raise UsageError(
                f"start: {folder or 'no adapter'} is not the one with sha256 {config.start or '-'} "
                "that the settings name; name the adapter again (--start)"
            )
        if folder is None:
            return None
        adapter = load_peft(folder, self.base)
        if not adapter.config.same_kind(config.lora):
            raise MismatchError(
                f"{folder}: {adapter.config.described} is no start for {config.lora.described}; "
                "train adapters of its kind, or start from another"
            )
        return adapter

    def store(self, folder: Path) -> AdapterStore:
        """The store in a folder, made for this work where there is none."""
        return AdapterStore.create(
            folder,
            self.base,
            source=self.work.base,
            task=self.task.name,
            lora=self.work.config.lora,
            settings=to_plain(self.work.config),
        )

    def planner(self, stores: Sequence[AdapterStore]) -> Planner:
        """Who says whose work there is, given what these stores know."""
        return Planner(
            self.base,
            self.task,
            self.work.config,
            stores,
            profiles=self.profiles,
            encoder=self.encoder,
            mode=self.work.mode,
            starts=self.starts,
        )

    def personalizer(
        self,
        store: AdapterStore,
        *,
        known: Sequence[AdapterStore] = (),
        ledger: Ledger | None = None,
    ) -> Personalizer:
        """Who trains people into a store."""
        return Personalizer(
            self.base,
            self.task,
            self.work.config,
            store,
            engine=self.work.engine,
            profiles=self.profiles,
            encoder=self.encoder,
            mode=self.work.mode,
            starts=self.starts,
            known=known,
            ledger=ledger,
            listener=both(self.listener, MetricsLog(store.folder / "metrics.jsonl")),
        )

    def whole(self, *, wait: bool = True) -> PersonalSummary:
        """Train everyone into the store itself."""
        store = self.store(self.work.store)
        with store.writing(wait=wait):
            ledger = Ledger(store.folder / "ledger")
            trainer = self.personalizer(store, ledger=ledger)
            return trainer.run(self.dataset.histories(self.people), people=len(self.people))
