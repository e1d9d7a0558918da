"""One whole study of one task: adapt the base on other people, write profiles, compare methods.

The demo and the benchmark are two studies each with their own sizes. Everything made lies in a work
folder under the fingerprint of what it follows from, and is used again.
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
from idiolect.models.base import Base, load_base
from idiolect.models.encoder import MiniLM
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
    """Sizes and settings of one study."""

    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    adapt: AdaptConfig | None = field(default_factory=AdaptConfig)
    """How the base is adapted to the task; ``None`` leaves it as it is."""
    context_items: int = 800
    """Items on which the bases with retrieval and with profiles go on from the adapted one."""
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
    """Adapt on ``others``, compare on ``tested``; nobody tested takes part in the adaptation.

    ``further``: bases that were adapted before with retrieval (``rag``) and with profiles
    (``pag``), where none is to be made here.
    """
    asked = [ensure_queries(h, task, config.evaluate) for h in tested]
    settings = config.evaluate
    chosen = select_methods(settings.methods, k=settings.k, retriever=settings.retriever)
    encoder = MiniLM() if settings.retriever == "dense" else None
    writing = any(m.context.profile for m in chosen)
    profiles: dict[str, tuple[Profile, ...]] = {}
    if writing:
        profiles = _write_profiles(base, task, asked, work, listener)
    bases: dict[str, Base] = {"plain": base, **(further or {})}
    if config.adapt is not None:
        maker = BaseAdapter(
            task, others, ExcludedTestSet(task, asked), work, config, encoder, listener
        )
        bases["plain"] = maker.load_or_adapt(base, config.adapt, {})
        wanted = {m.base: m.context for m in chosen if m.base != "plain"}
        if "rag" in wanted:
            bases["rag"] = maker.adapt_further(bases["plain"], wanted["rag"], {})
        if "pag" in wanted:
            theirs = maker.sample_people(others)
            written = _write_profiles(base, task, theirs, work, listener)
            maker.others = theirs
            bases["pag"] = maker.adapt_further(bases["plain"], wanted["pag"], written)
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
    return runner.compare_methods(asked, dataset=dataset, base=_describe_base(bases["plain"], task))


def require_unseen(base: Base, people: Sequence[str]) -> None:
    """Raise MismatchError where the base was adapted on somebody who is to be tested."""
    seen = sorted(set(read_contributors(base)).intersection(people))
    if seen:
        raise MismatchError(
            f"base {base.name} was adapted on {len(seen)} of the people to be tested, e.g. "
            f"{seen[0]!r}: their scores would be too good; adapt it with them excluded"
        )


def _describe_base(base: Base, task: Task) -> str:
    """What the base is, for the report."""
    people = len(read_contributors(base))
    if not people:
        return f"{base.name} as it is, not adapted to the task"
    name = base.name.removesuffix(f"+{task.name}")
    return (
        f"{name}, task-adapted to {task.title} on {people:,} other people "
        "(nobody tested among them)"
    )


def _write_profiles(
    base: Base, task: Task, histories: Sequence[History], work: Path, listener: Listener
) -> dict[str, tuple[Profile, ...]]:
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
    """Makes adapted bases, each once."""

    task: Task
    others: Sequence[History]
    exclusion: ExcludedTestSet
    work: Path
    config: ExperimentConfig
    encoder: Encoder | None
    listener: Listener

    def load_or_adapt(
        self, base: Base, config: AdaptConfig, profiles: Mapping[str, Sequence[Profile]]
    ) -> Base:
        """The adapted base, from the work folder where it was made before."""
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
        """A base that goes on from the adapted one with retrieved items or profiles beside."""
        assert self.config.adapt is not None
        config = replace(
            self.config.adapt,
            context=context,
            most_items=self.config.context_items,
            train=replace(self.config.adapt.train, epochs=1),
        )
        return self.load_or_adapt(base, config, profiles)

    def sample_people(self, histories: Sequence[History]) -> list[History]:
        """Few enough other people that writing their profiles is affordable: the longest
        histories that together hold the items wanted, without anything of a tested person: a
        profile must not tell of it either."""
        out: list[History] = []
        for history in sorted(histories, key=lambda h: (-len(h.items), h.person)):
            if history.person in self.exclusion.people:
                continue
            out.append(self.exclusion.filter_history(history).take_last(64))
            if sum(len(h.items) for h in out) >= self.config.context_items * 2:
                break
        return out
