"""One complete experiment on one task: adapt the base, write profiles, compare methods.

The base is adapted on people other than the tested ones. The demo and the quality benchmark are
such experiments of different sizes. Bases, profiles, adapters and answers are kept in a work folder
and used again, each under a hash of everything that affects it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from idiolect.config import compute_fingerprint, to_plain
from idiolect.errors import MismatchError
from idiolect.evaluation.methods import select_methods
from idiolect.evaluation.results import Comparison
from idiolect.evaluation.runner import EvaluateConfig, EvaluationRunner, ensure_queries
from idiolect.events import Listener, null_listener
from idiolect.history.history import History
from idiolect.inference.profile_writer import ModelProfileWriter
from idiolect.models.base import Base
from idiolect.models.encoder import MiniLM
from idiolect.models.load import load_base
from idiolect.profiles.profile import Profile
from idiolect.profiles.write import write_profiles
from idiolect.prompts.context import ContextConfig
from idiolect.retrieval.dense import Encoder
from idiolect.tasks.task import Task
from idiolect.training.adapt_base import (
    AdaptConfig,
    ExcludedTestSet,
    adapt_to_task,
    read_contributors,
)
from idiolect.training.engine.config import EngineConfig


@dataclass(frozen=True, kw_only=True)
class ExperimentConfig:
    """Sizes and settings of one experiment."""

    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    adapt: AdaptConfig | None = field(default_factory=AdaptConfig)
    """Settings of the task adaptation of the base; ``None`` uses the base unchanged."""
    context_items: int = 800
    """Number of items on which the adapted base is trained further for prompts with retrieval, and
    with profiles."""
    engine: EngineConfig = field(default_factory=EngineConfig)


def run_experiment(
    base: Base,
    task: Task,
    tested: Sequence[History],
    others: Sequence[History],
    config: ExperimentConfig,
    work: Path,
    *,
    dataset: str,
    further: Mapping[str, Base] | None = None,
    listener: Listener = null_listener,
) -> Comparison:
    """Adapt the base on ``others``, and compare the methods on ``tested``.

    No item of a tested person is used in the adaptation. ``further``: bases that were adapted
    beforehand with retrieval (``rag``) and with profiles (``pag``), for a ``config`` without
    adaptation.
    """
    # Choose the queries first: everything after this uses the histories without them.
    histories = [ensure_queries(h, task, config.evaluate) for h in tested]
    settings = config.evaluate
    chosen = select_methods(settings.methods, k=settings.k, retriever=settings.retriever)
    encoder = MiniLM() if settings.retriever == "dense" else None
    writing = any(m.context.profile for m in chosen)
    profiles: dict[str, tuple[Profile, ...]] = {}
    if writing:
        profiles = _write_profiles(base, task, histories, work, listener)
    bases: dict[str, Base] = {"plain": base, **(further or {})}
    if config.adapt is not None:
        # Adapt the base to the task, then further for prompts with retrieval and with profiles.
        maker = BaseAdapter(
            task, others, ExcludedTestSet(task, histories), work, config, encoder, listener
        )
        bases["plain"] = maker.load_or_adapt(base, config.adapt, {})
        wanted = {m.base: m.context for m in chosen if m.base != "plain"}
        if "rag" in wanted:
            bases["rag"] = maker.adapt_further(bases["plain"], wanted["rag"], {})
        if "pag" in wanted:
            # Profiles are expensive, so they are written for some of the other people only.
            sampled = maker.sample_people(others)
            written = _write_profiles(base, task, sampled, work, listener)
            maker.others = sampled
            bases["pag"] = maker.adapt_further(bases["plain"], wanted["pag"], written)
    # Train and answer with every method on these bases.
    runner = EvaluationRunner(
        bases,
        task,
        config.evaluate,
        work,
        profiles=profiles,
        encoder=encoder,
        engine=config.engine,
        listener=listener,
    )
    return runner.compare_methods(
        histories, dataset=dataset, base=_describe_base(bases["plain"], task)
    )


def require_unseen(base: Base, people: Sequence[str]) -> None:
    """Raise MismatchError if the base was adapted on data of one of ``people``."""
    seen = sorted(set(read_contributors(base)).intersection(people))
    if seen:
        raise MismatchError(
            f"base {base.name} was adapted on {len(seen)} of the people to be tested, e.g. "
            f"{seen[0]!r}: their scores would be too good; adapt it with them excluded"
        )


def _describe_base(base: Base, task: Task) -> str:
    """Describe the base in one sentence for the report."""
    people = len(read_contributors(base))
    if not people:
        return f"{base.name} unchanged, not adapted to the task"
    name = base.name.removesuffix(f"+{task.name}")
    return f"{name}, task-adapted to {task.title} on {people:,} other people (none of them tested)"


def _write_profiles(
    base: Base, task: Task, histories: Sequence[History], work: Path, listener: Listener
) -> dict[str, tuple[Profile, ...]]:
    """Return the profiles that the base model wrote of each history, by person."""
    writer = ModelProfileWriter(base)
    return write_profiles(
        list(histories),
        task,
        writer,
        name=writer.name,
        folder=work / "profiles",
        batch=8,
        listener=listener,
    )


@dataclass
class BaseAdapter:
    """Adapts bases on the other people; an adapted base that is in the work folder is loaded."""

    task: Task
    others: Sequence[History]
    """Histories of the people that bases are adapted on."""
    exclusion: ExcludedTestSet
    """The tested people and their texts, which no base may be trained on."""
    work: Path
    config: ExperimentConfig
    encoder: Encoder | None
    listener: Listener

    def load_or_adapt(
        self, base: Base, config: AdaptConfig, profiles: Mapping[str, Sequence[Profile]]
    ) -> Base:
        """Return the adapted base; adapt it first if it is not in the work folder."""
        people = sorted(self.exclusion.people)
        others = [h.compute_fingerprint() for h in self.others]
        key = compute_fingerprint([base.identity, self.task.name, to_plain(config), people, others])
        folder = self.work / f"base-{key}"
        if not (folder / "manifest.json").is_file():
            adapt_to_task(
                base,
                self.task,
                self.others,
                self.exclusion,
                folder,
                config,
                profiles=profiles,
                encoder=self.encoder,
                engine=self.config.engine,
                listener=self.listener,
            )
        return load_base(folder, dtype=config.dtype, device=config.device)

    def adapt_further(
        self, base: Base, context: ContextConfig, profiles: Mapping[str, Sequence[Profile]]
    ) -> Base:
        """Train the adapted base for one more epoch with retrieval or profiles in the prompts."""
        assert self.config.adapt is not None
        config = replace(
            self.config.adapt,
            context=context,
            most_items=self.config.context_items,
            train=replace(self.config.adapt.train, epochs=1),
        )
        return self.load_or_adapt(base, config, profiles)

    def sample_people(self, histories: Sequence[History]) -> list[History]:
        """Return the longest histories that together have twice ``context_items`` items.

        Each is cut to its last 64 items, so that writing the profiles is affordable. Texts of
        tested people are removed, because a profile must not contain them either.
        """
        out: list[History] = []
        for history in sorted(histories, key=lambda h: (-len(h.items), h.person)):
            if history.person in self.exclusion.people:
                continue
            out.append(self.exclusion.filter_history(history).take_last(64))
            if sum(len(h.items) for h in out) >= self.config.context_items * 2:
                break
        return out
