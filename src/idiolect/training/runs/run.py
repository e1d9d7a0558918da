"""Runs a ``PersonalizeRequest``: loads base, data and profiles, then makes a ``Personalizer``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from idiolect.adapters.arithmetic.directions import AdapterBasis
from idiolect.adapters.formats.basis import hash_directions, load_basis, read_basis_config
from idiolect.adapters.formats.peft import WEIGHTS_FILE, load_peft
from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.store.source import (
    describe_other_quantization,
    read_quantization,
    read_sharers,
)
from idiolect.adapters.store.store import AdapterStore
from idiolect.config import to_plain
from idiolect.errors import MismatchError, MissingError, UsageError
from idiolect.events import Listener, Message, null_listener, tee
from idiolect.history.dataset import Dataset, read_dataset
from idiolect.history.suppress import find_list_beside, open_lists
from idiolect.models.base import Base
from idiolect.models.cpu.shape_caches import limit_onednn_shape_caches
from idiolect.models.encoder import MiniLM
from idiolect.models.load import load_base
from idiolect.privacy.ledger import Ledger
from idiolect.profiles.store import load_profiles
from idiolect.storage.files import sha256_file
from idiolect.storage.metrics_log import MetricsLog
from idiolect.tasks.registry import get_task
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.memory_plan import require_trainable
from idiolect.training.private.config import PrivateConfig
from idiolect.training.runs.initial_adapters import InitialAdapters, SharedInitialAdapter
from idiolect.training.runs.personalize import Personalizer
from idiolect.training.runs.plan import PersonalConfig, RunContext
from idiolect.training.runs.request import NO_BASIS, PersonalizeRequest
from idiolect.training.runs.summary import PersonalSummary
from idiolect.training.schedule import TrainConfig

OpenStarts = Callable[[], InitialAdapters]
"""Opens each person's initial adapter, if these are made of pieces (``config.pool``)."""


def open_dataset(request: PersonalizeRequest) -> Dataset:
    """Open the dataset of a request, and check the request against it before any work."""
    dataset = read_dataset(request.data)
    get_task(dataset.task)
    # Raises if a named person is not in the dataset.
    for person in request.people:
        dataset.get_counts(person)
    if request.config and request.config.context.profile and request.profiles is None:
        raise UsageError("context.profile is on: name the profiles (idiolect profile writes them)")
    return dataset


def list_people(request: PersonalizeRequest, dataset: Dataset) -> tuple[str, ...]:
    """Return the people of a request: those it names, or all people of the dataset."""
    return tuple(dict.fromkeys(request.people)) or dataset.people


def set_start_adapter(config: PersonalConfig, start: Path | None) -> PersonalConfig:
    """Return the settings with the initial adapter of all people, named by its weights' SHA-256."""
    if start is None:
        return replace(config, start="", pool=None)
    if not (start / WEIGHTS_FILE).is_file():
        raise MissingError(f"{start}: no adapter in PEFT's format (no {WEIGHTS_FILE} in it)")
    return replace(config, start=sha256_file(start / WEIGHTS_FILE), pool=None)


def set_private_training(config: PersonalConfig, request: PersonalizeRequest) -> PersonalConfig:
    """Return the settings for private training along the basis that the request names.

    The gate is turned off, and the basis sets the LoRA configuration. Raises UsageError if the
    folder has no directions, or if a setting would let one record influence others.
    """
    private, folder = config.private, request.start
    if request.private is not None:
        private = replace(private or PrivateConfig(), epsilon=request.private)
    if private is None:
        return config
    if folder is None:
        raise UsageError(NO_BASIS)
    # If only the settings ask for it, the request has not been checked for it yet.
    replace(request, private=private.epsilon)
    _refuse_unused_settings(config, folder)
    return replace(
        config,
        lora=read_basis_config(folder),
        gate=replace(config.gate, on=False),
        private=replace(private, basis=hash_directions(folder)),
    )


def _refuse_unused_settings(config: PersonalConfig, basis: Path) -> None:
    """Raise UsageError if settings are given that private training would ignore."""
    if config.train != TrainConfig():
        raise UsageError(
            "private training has steps of its own: leave out --rate, --epochs, --seed and "
            "train.*; its settings are private.* (--set private.steps=3), and its noise has no seed"
        )
    # The store's own settings, with which an adapter is trained again, name the basis' LoRA.
    if config.lora not in (LoraConfig(), read_basis_config(basis)):
        raise UsageError(
            "private training takes the LoRA configuration of its basis: leave out --rank and "
            "lora.*"
        )


class PersonalizeRun:
    """Runs a request, or shards of it, with one loaded base.

    ``open_starts`` must be given if, and only if, the settings name a pool.
    """

    def __init__(
        self,
        request: PersonalizeRequest,
        *,
        open_starts: OpenStarts | None = None,
        listener: Listener = null_listener,
    ) -> None:
        # Stage 1: check settings and data before the base is loaded, which is slow.
        limit_onednn_shape_caches()
        self.request, self.listener = request, listener
        self.config = config = request.config or PersonalConfig()
        self.dataset = open_dataset(request)
        task = get_task(self.dataset.task)
        if config.lora.active == "answer" and not task.labeled:
            raise UsageError(
                f"lora.active 'answer': histories of {task.name} hold no answers to train on; "
                "use 'all'"
            )
        self.people = list_people(request, self.dataset)
        if config.private is not None:
            text = "private training: the gate is off, and its loss is not reported"
            listener(Message(text=text))
        # Stage 2: load what all people share.
        folder = request.profiles
        profiles = load_profiles(folder, task=task.name) if folder else {}
        lists = open_lists([find_list_beside(request.data), find_list_beside(request.store)])
        base = load_base(
            request.base,
            dtype=config.dtype,
            device=config.device,
            quantize=config.quantize,
            listener=listener,
        )
        self.config = config = replace(config, lora=config.lora.resolve_for(base.model))
        engine = request.engine or EngineConfig()
        require_trainable(base, config.lora, engine)
        self.context = RunContext(
            base=base,
            task=task,
            config=config,
            engine=engine,
            profiles=profiles,
            starts=self._open_starts(base, open_starts),
            basis=self._load_basis(base),
            encoder=MiniLM() if config.context.retrieval == "dense" else None,
            mode=request.mode,
            suppressions=lists,
            allow_older=request.allow_older,
        )

    def _open_starts(self, base: Base, open_starts: OpenStarts | None) -> InitialAdapters | None:
        """Open the initial adapters; raises if a person has none that can be used."""
        assert (self.config.pool is None) == (open_starts is None)
        if open_starts is None:
            start, folder = self._load_start(base), self.request.start
            return SharedInitialAdapter(start, read_sharers(folder)) if start and folder else None
        starts = open_starts()
        starts.require_all(self.people)
        return starts

    def _load_start(self, base: Base) -> Adapter | None:
        """Load the initial adapter of all people; raises if it is not the one in the settings."""
        # The settings have the adapter's hash: it must not change between request and training.
        folder, config = self.request.start, self.config
        if set_start_adapter(config, folder) != config:
            raise UsageError(
                f"start: {folder or 'no adapter'} does not have the sha256 {config.start or '-'} "
                "that the settings name; give the right adapter (--start)"
            )
        if folder is None:
            return None
        adapter = load_peft(folder, base)
        warning = describe_other_quantization(read_quantization(folder), base)
        if warning:
            self.listener(Message(text=f"warning: {folder}: {warning}"))
        if not adapter.config.is_same_kind(config.lora):
            raise MismatchError(
                f"{folder}: {adapter.config.description} cannot be the start for "
                f"{config.lora.description}; "
                "train adapters of the same kind, or start from another adapter"
            )
        return adapter

    def _load_basis(self, base: Base) -> AdapterBasis | None:
        """Load the directions of private training; raises if they are not those in the settings."""
        private, folder = self.config.private, self.request.start
        if private is None:
            return None
        if folder is None or hash_directions(folder) != private.basis:
            raise UsageError(
                f"start: {folder or 'no folder'} does not have the directions that the settings "
                "name; give the right basis (--start)"
            )
        return load_basis(folder, base)

    def create_store(self, folder: Path) -> AdapterStore:
        """Open the store in a folder; create it for this request if there is none."""
        return AdapterStore.create(
            folder,
            self.context.base,
            source=self.context.base.source or self.request.base,
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
        """Make a ``Personalizer`` that trains people into a store and logs its metrics."""
        return Personalizer(
            self.context,
            store,
            known=known,
            ledger=ledger,
            listener=tee(self.listener, MetricsLog(store.folder / "metrics.jsonl")),
        )

    def run_unsharded(self) -> PersonalSummary:
        """Train all people of the request into the store itself."""
        store = self.create_store(self.request.store)
        with store.lock_for_writing(wait=self.request.wait):
            ledger = Ledger(store.folder / "ledger")
            if self.config.private:
                _require_outside_basis(self.people, ledger, self.config.start)
            trainer = self.create_personalizer(store, ledger=ledger)
            return trainer.run(self.dataset.iter_histories(self.people), people=len(self.people))


def _require_outside_basis(people: Sequence[str], ledger: Ledger, basis: str) -> None:
    """Raise UsageError for people whose own adapters are in the basis, as far as the ledger of
    this store tells: no noise hides their records there."""
    inside = [
        person
        for person, entries in ledger.read_by_person().items()
        if person in set(people)
        and any(e.event == "shared" and e.details.get("sha256") == basis for e in entries)
    ]
    if inside:
        raise UsageError(
            f"private training: the basis was made of the adapters of {len(inside)} of these "
            f"people, e.g. {min(inside)!r}, so it shows their records without noise; leave them "
            "out, or use a basis of other people"
        )
