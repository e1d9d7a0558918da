"""The work folder of one task: base, people, and prepared adapters, gates and pools."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter, LoraConfig, require_lora
from idiolect.adapters.store.store import AdapterRecord, AdapterStore, load_adapters
from idiolect.config import compute_fingerprint, derive_seed, to_plain
from idiolect.events import Listener, null_listener
from idiolect.history.history import History
from idiolect.models.base import Base
from idiolect.pieces.pool.contribution import Contribution
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.sharing.train_gates import GatesConfig, train_gates
from idiolect.prompts.render import Example, PromptRenderer
from idiolect.storage.files import read_json, write_atomic, write_json
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.train_many import train_many
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig
from kit.time_budget import TimeBudget, iter_groups
from suites.pieces.people import People, load_people
from suites.pieces.settings import GATES, LORA, SEED, TRAIN, Sizes


@dataclass
class Workspace:
    """A task's base, people and folder. All preparation is resumable."""

    name: str
    base: Base
    folder: Path
    sizes: Sizes
    lora: LoraConfig = LORA
    listener: Listener = null_listener
    engine: EngineConfig = field(default_factory=EngineConfig)

    @cached_property
    def artifact_folder(self) -> Path:
        """The folder of results that depend on how adapters and gates are trained."""
        cause = [self.base.identity, to_plain(GATES), to_plain(TRAIN), to_plain(self.lora)]
        folder = self.folder / f"made-{compute_fingerprint(cause)}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @cached_property
    def people(self) -> People:
        """The people of the benchmark."""
        return load_people(self.base, self.name, self.sizes, self.folder)

    @cached_property
    def prompter(self) -> PromptRenderer:
        """The renderer of examples."""
        return PromptRenderer(self.base.tokenizer)

    def build_examples(self, history: History) -> tuple[Example, ...]:
        """Return a history's items as training examples."""
        return self.people.build_examples(history, self.prompter)

    def build_query_examples(self, history: History) -> tuple[Example, ...]:
        """Return a history's queries with their answers."""
        return self.people.build_query_examples(history, self.prompter)

    def make_pseudonym(self, person: str) -> str:
        """Return a sharer's pseudonym in all pools of this task.

        It depends on the seed only, so that a repeated run shares the same pieces.
        """
        return f"{derive_seed(SEED, self.name, person, 'pseudonym') % 2**64:016x}"

    def train_adapters(
        self,
        store: str,
        jobs: Sequence[TrainingJob],
        lora: LoraConfig,
        config: TrainConfig,
        clock: TimeBudget | None = None,
    ) -> None:
        """Train the adapters that the named store lacks, and record the seconds.

        Raises TimeIsUpError if the time is used up between two groups.
        """
        # An adapter is valid if items, initial adapter and settings have the same fingerprint.
        made = self._open_store(store, lora, config)
        causes = {job.person: _fingerprint_job(job, lora, config) for job in jobs}
        known = {job.person: made.get_record(job.person) for job in jobs}
        waiting = [
            j for j in jobs if (k := known[j.person]) is None or k.made_by != causes[j.person]
        ]
        # Train in groups; add each to the store before the next one starts.
        checkpoint = self.folder / f"{store}.checkpoint"
        for group in iter_groups(clock, waiting, self.sizes.group):
            began = time.perf_counter()
            # The checkpoint limits what a killed process loses.
            done = train_many(
                self.base,
                group,
                lora,
                config,
                self.engine,
                checkpoint=checkpoint,
                listener=self.listener,
                stage=f"{self.name} {store}",
            )
            entries = [
                (
                    AdapterRecord(
                        person=one.person,
                        served="adapter",
                        made_by=causes[job.person],
                        items=len(job.examples),
                        steps=one.steps,
                        tokens=one.tokens,
                        first_loss=one.first_loss,
                        last_loss=one.last_loss,
                    ),
                    one.adapter,
                )
                for job, one in zip(group, done, strict=True)
            ]
            with made.lock_for_writing():
                made.add(entries)
            checkpoint.unlink(missing_ok=True)
            self.record_seconds(store, time.perf_counter() - began)

    def read_adapters(self, store: str, people: Sequence[str]) -> dict[str, LoraAdapter]:
        """Return the adapters of these people in the named store."""
        found = load_adapters(AdapterStore.open(self.folder / store), people)
        return {person: require_lora(adapter) for person, adapter in found.items()}

    def train_sharer_gates(
        self,
        folder: str,
        people: Sequence[str],
        config: GatesConfig,
        clock: TimeBudget | None = None,
    ) -> dict[str, dict[str, Tensor]]:
        """Return sharers' gates by person and module; trains those that the folder lacks."""
        # A gate file is valid for one base and one pair of settings.
        place = self.folder / folder
        place.mkdir(parents=True, exist_ok=True)
        cause = compute_fingerprint([self.base.identity, to_plain(config), to_plain(self.lora)])
        waiting = [p for p in people if not self._make_gate_path(place, p, cause).is_file()]
        checkpoint = self.folder / f"{folder}.checkpoint"
        for group in iter_groups(clock, waiting, self.sizes.group):
            began = time.perf_counter()
            adapters = self.read_adapters("adapters", group)
            done = train_gates(
                self.base,
                [(p, adapters[p], self.build_examples(self.people.sharers[p])) for p in group],
                config,
                self.engine,
                checkpoint=checkpoint,
                listener=self.listener,
            )
            for one in done:
                file = self._make_gate_path(place, one.person, cause)
                write_atomic(
                    file, save({k: v.contiguous() for k, v in one.adapter.vectors.items()})
                )
            checkpoint.unlink(missing_ok=True)
            self.record_seconds(folder, time.perf_counter() - began)
        return {p: load_file(self._make_gate_path(place, p, cause)) for p in people}

    def build_pool(self, folder: Path, gates: Mapping[str, Mapping[str, Tensor]]) -> Pool:
        """Build a pool of these sharers with all their pieces, or add those that it lacks."""
        pool = Pool.create(
            folder,
            self.base,
            source=self.base.source or self.base.name,
            task=self.name,
            lora=self.lora,
            settings={},
        )
        # Sharers that the pool has already are not added again.
        new = [p for p in gates if self.make_pseudonym(p) not in pool.sharers]
        adapters = self.read_adapters("adapters", new)
        with pool.lock_for_writing():
            pool.add_sharers(
                [
                    Contribution(
                        sharer=self.make_pseudonym(p),
                        adapter=adapters[p],
                        gates=gates[p],
                        sites=pool.sites,
                        about={"items": len(self.people.sharers[p].items)},
                    )
                    for p in new
                ]
            )
        return pool

    def make_job(
        self, history: History, *, start: LoraAdapter | None = None, last: int = 0
    ) -> TrainingJob:
        """Return a training job on all items of a person, or on the ``last`` items."""
        history = history.take_last(last) if last else history
        return TrainingJob(
            person=history.person, examples=self.build_examples(history), initial_adapter=start
        )

    def record_seconds(self, what: str, seconds: float, *, folder: Path | None = None) -> None:
        """Add to the recorded seconds of a part; ``folder`` defaults to that of the preparation."""
        path = (folder or self.folder) / "seconds.json"
        kept = read_json(path) if path.is_file() else {}
        write_json(path, kept | {what: kept.get(what, 0.0) + seconds})

    def _open_store(self, name: str, lora: LoraConfig, config: TrainConfig) -> AdapterStore:
        return AdapterStore.create(
            self.folder / name,
            self.base,
            source=self.base.source or self.base.name,
            task=self.name,
            config=lora,
            settings=to_plain(config),
        )

    def _make_gate_path(self, folder: Path, person: str, cause: str) -> Path:
        return folder / f"{self.make_pseudonym(person)}-{cause}.safetensors"


def _fingerprint_job(job: TrainingJob, lora: LoraConfig, config: TrainConfig) -> str:
    """Return the fingerprint of all inputs of a training job, except the base."""
    digest = hashlib.sha256()
    for path, pair in (
        require_lora(job.initial_adapter).pairs if job.initial_adapter else {}
    ).items():
        digest.update(path.encode())
        for tensor in pair:
            digest.update(tensor.to(torch.float32).contiguous().numpy().tobytes())
    items = [[[*e.ids], e.answer_start] for e in job.examples]
    return compute_fingerprint([items, digest.hexdigest(), to_plain(lora), to_plain(config)])


def set_epochs(config: TrainConfig, epochs: int) -> TrainConfig:
    """Return the config with another number of epochs."""
    return replace(config, epochs=epochs)
