"""Bases adapted to a task, people's adapters trained and merged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from idiolect.errors import UsageError
from idiolect.events import Listener, silent

if TYPE_CHECKING:
    from idiolect.training.adapt_base import AdaptConfig, AdaptSummary
    from idiolect.training.engine.config import EngineConfig
    from idiolect.training.runs.personalize import PersonalConfig, PersonalSummary
    from idiolect.training.sharded.shards import MergeSummary


def adapt(
    data: Path,
    out: Path,
    *,
    base: str = "default",
    config: AdaptConfig | None = None,
    people: Sequence[str] = (),
    exclude: Sequence[str] = (),
    profiles: Path | None = None,
    listener: Listener = silent,
) -> AdaptSummary:
    """Adapt a base to the dataset's task on its people, without those of its test split."""
    from idiolect.history.dataset import read_dataset
    from idiolect.models.base import load_base
    from idiolect.models.encoder import MiniLM
    from idiolect.profiles.store import load as load_profiles
    from idiolect.tasks.registry import get_task
    from idiolect.training.adapt_base import AdaptConfig, Exclusion
    from idiolect.training.adapt_base import adapt as adapt_base

    config = config or AdaptConfig()
    dataset = read_dataset(data)
    task = get_task(dataset.task)
    apart = [*dict.fromkeys([*exclude, *dataset.people_in("test")])]
    able = dataset.people_in("other") or dataset.people
    chosen = [p for p in (people or able) if p not in set(apart)]
    if out.exists():
        raise UsageError(f"{out}: is there already; name a folder that is not")
    return adapt_base(
        load_base(base, dtype=config.dtype, device=config.device),
        task,
        list(dataset.histories(chosen)),
        Exclusion(task, dataset.histories(apart)),
        out,
        config,
        profiles=load_profiles(profiles, task=task.name) if profiles else None,
        encoder=MiniLM() if config.context.retrieval == "dense" else None,
        listener=listener,
    )


def personalize(
    data: Path,
    store: Path,
    *,
    base: str = "default",
    config: PersonalConfig | None = None,
    engine: EngineConfig | None = None,
    people: Sequence[str] = (),
    profiles: Path | None = None,
    mode: Literal["afresh", "continue"] = "afresh",
    start: Path | None = None,
    pieces: Path | None = None,
    shard: str | None = None,
    ray: str | None = None,
    shards: int | None = None,
    workers: int | None = None,
    wait: bool = True,
    listener: Listener = silent,
) -> PersonalSummary:
    """Train the adapters of a dataset's people into a store: only of those who need it.

    ``engine`` says how the work is laid out: speed and rounding, never what is computed.
    ``start``: a PEFT adapter from which everyone's training starts (``mean`` makes one); the
    store's manifest names its weights' sha256. ``pieces``: recipes (``assemble``) instead: each
    person's training starts from the adapter that theirs makes, of whose kind all then are; the
    store names the pool, everyone's record the sharers.
    ``shard="k/N"`` trains the people of that shard alone, into a part of the store that ``merge``
    takes in; ``ray`` (``local`` or a cluster's address) does all shards and merges them.
    """
    from functools import partial

    from idiolect.pieces.recipes.initial_adapters import (
        AssembledStarts,
        require_not_from_pieces,
        starting_from_recipes,
    )
    from idiolect.training.engine.config import EngineConfig
    from idiolect.training.runs.personalize import PersonalConfig
    from idiolect.training.runs.request import Work, Worker, starting_from

    if ray is None and (shards, workers) != (None, None):
        raise UsageError("shards and workers are for a run on Ray: name a cluster, or 'local'")
    if shard is not None and ray is not None:
        raise UsageError("one shard or all of them on Ray: say one of the two")
    if start is not None and pieces is not None:
        raise UsageError("training starts from one adapter or from pieces: say one of the two")
    config = starting_from(config or PersonalConfig(), start)
    if pieces is not None:
        config = starting_from_recipes(config, pieces, store)
    else:
        require_not_from_pieces(store)
    work = Work(
        data=data,
        store=store,
        base=base,
        config=config,
        engine=engine or EngineConfig(),
        people=tuple(people),
        profiles=profiles,
        mode=mode,
        start=start,
        starts=partial(AssembledStarts, pieces.absolute()) if pieces else None,
    )
    if ray is not None:
        from idiolect.training.sharded.ray import personalize_on_ray

        return personalize_on_ray(
            work, ray, shards=shards, workers=workers, wait=wait, listener=listener
        )
    if shard is not None:
        from idiolect.training.sharded.parts import RunShard
        from idiolect.training.sharded.shards import run_shard

        chosen = RunShard.parse(shard)
        return run_shard(Worker(work, listener=listener), chosen, wait=wait)
    from idiolect.training.sharded.parts import require_no_parts

    require_no_parts(store)
    return Worker(work, listener=listener).whole(wait=wait)


def merge(store: Path, *, wait: bool = True) -> MergeSummary:
    """Take the parts that the shards of a run left into their store; again, it does nothing."""
    from idiolect.training.sharded.shards import merge as merge_parts

    return merge_parts(store, wait=wait)
