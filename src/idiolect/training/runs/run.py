"""Does what a ``PersonalizeRequest`` asks for, with base, data and profiles loaded once.

Knows folders and how a ``Personalizer`` is made; knows nothing of shards or clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from idiolect.adapters.formats.peft import WEIGHTS_FILE, load_peft
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.store.source import read_sharers
from idiolect.adapters.store.store import AdapterStore
from idiolect.config import to_plain
from idiolect.errors import MismatchError, MissingError, UsageError
from idiolect.events import Listener, null_listener, tee
from idiolect.history.dataset import Dataset, read_dataset
from idiolect.models.base import Base, load_base
from idiolect.models.cpu.shape_caches import limit_onednn_shape_caches
from idiolect.models.encoder import MiniLM
from idiolect.privacy.ledger import Ledger
from idiolect.profiles.store import load_profiles as load_profiles
from idiolect.storage.files import sha256_file
from idiolect.storage.metrics_log import MetricsLog
from idiolect.tasks.registry import get_task
from idiolect.training.engine.config import EngineConfig
from idiolect.training.runs.initial_adapters import InitialAdapters, SharedInitialAdapter
from idiolect.training.runs.personalize import Personalizer
from idiolect.training.runs.plan import PersonalConfig, RunContext
from idiolect.training.runs.request import PersonalizeRequest
from idiolect.training.runs.summary import PersonalSummary

OpenStarts = Callable[[], InitialAdapters]
"""Opens where each person starts, if that is made of pieces (``config.pool``)."""


def open_dataset(request: PersonalizeRequest) -> Dataset:
    """The dataset of a request; raises what can be wrong with it before anything is made."""
    dataset = read_dataset(request.data)
    get_task(dataset.task)
    for person in request.people:
        dataset.get_counts(person)
    if request.config and request.config.context.profile and request.profiles is None:
        raise UsageError("context.profile is on: name the profiles (idiolect profile writes them)")
    return dataset


def list_people(request: PersonalizeRequest, dataset: Dataset) -> tuple[str, ...]:
    """The people of a request: those it names, or all of the dataset."""
    return tuple(dict.fromkeys(request.people)) or dataset.people


def set_start_adapter(config: PersonalConfig, start: Path | None) -> PersonalConfig:
    """The settings with the adapter that everyone starts from, by its weights' sha256."""
    if start is None:
        return replace(config, start="", pool=None)
    if not (start / WEIGHTS_FILE).is_file():
        raise MissingError(f"{start}: no adapter in PEFT's format there (it has no {WEIGHTS_FILE})")
    return replace(config, start=sha256_file(start / WEIGHTS_FILE), pool=None)


class PersonalizeRun:
    """Does a request, or shards of it, with one base.

    ``open_starts`` is given if, and only if, the settings name a pool.
    """

    def __init__(
        self,
        request: PersonalizeRequest,
        *,
        open_starts: OpenStarts | None = None,
        listener: Listener = null_listener,
    ) -> None:
        limit_onednn_shape_caches()
        self.request, self.listener = request, listener
        self.config = config = request.config or PersonalConfig()
        self.dataset = open_dataset(request)
        task = get_task(self.dataset.task)
        if config.lora.active == "answer" and not task.labelled:
            raise UsageError(
                f"lora.active 'answer': histories of {task.name} hold no answers to train on; "
                "use 'all'"
            )
        self.people = list_people(request, self.dataset)
        folder = request.profiles
        profiles = load_profiles(folder, task=task.name) if folder else {}
        base = load_base(request.base, dtype=config.dtype, device=config.device)
        self.context = RunContext(
            base=base,
            task=task,
            config=config,
            engine=request.engine or EngineConfig(),
            profiles=profiles,
            starts=self._open_starts(base, open_starts),
            encoder=MiniLM() if config.context.retrieval == "dense" else None,
            mode=request.mode,
        )

    def _open_starts(self, base: Base, open_starts: OpenStarts | None) -> InitialAdapters | None:
        """Where each person starts; raises if a person has no start to use."""
        assert (self.config.pool is None) == (open_starts is None)
        if open_starts is None:
            start, folder = self._load_start(base), self.request.start
            return SharedInitialAdapter(start, read_sharers(folder)) if start and folder else None
        starts = open_starts()
        starts.require_all(self.people)
        return starts

    def _load_start(self, base: Base) -> Adapter | None:
        """The adapter that everyone starts from, if it still is the one that was named."""
        folder, config = self.request.start, self.config
        if set_start_adapter(config, folder) != config:
            raise UsageError(
                f"start: {folder or 'no adapter'} is not the one with sha256 {config.start or '-'} "
                "that the settings name; name the adapter again (--start)"
            )
        if folder is None:
            return None
        adapter = load_peft(folder, base)
        if not adapter.config.is_same_kind(config.lora):
            raise MismatchError(
                f"{folder}: {adapter.config.description} is no start for "
                f"{config.lora.description}; "
                "train adapters of its kind, or start from another"
            )
        return adapter

    def create_store(self, folder: Path) -> AdapterStore:
        """The store in a folder, made for this request if there is none."""
        return AdapterStore.create(
            folder,
            self.context.base,
            source=self.request.base,
            task=self.context.task.name,
            config=self.config.lora,
            settings=to_plain(self.config),
        )

    def create_personalizer(
        self,
        store: AdapterStore,
        *,
        known: Sequence[AdapterStore] = (),
        ledger: Ledger | None = None,
    ) -> Personalizer:
        """A ``Personalizer`` that trains people into a store, and logs into its folder."""
        return Personalizer(
            self.context,
            store,
            known=known,
            ledger=ledger,
            listener=tee(self.listener, MetricsLog(store.folder / "metrics.jsonl")),
        )

    def run_unsharded(self) -> PersonalSummary:
        """Train everyone into the store itself."""
        store = self.create_store(self.request.store)
        with store.lock_for_writing(wait=self.request.wait):
            trainer = self.create_personalizer(store, ledger=Ledger(store.folder / "ledger"))
            return trainer.run(self.dataset.iter_histories(self.people), people=len(self.people))
