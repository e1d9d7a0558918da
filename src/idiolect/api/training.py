"""Bases adapted to a task, people's adapters trained and merged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from idiolect.api.requests import AdaptRequest
from idiolect.errors import UsageError
from idiolect.events import Listener, null_listener
from idiolect.training.runs.request import PersonalizeRequest

if TYPE_CHECKING:
    from idiolect.training.adapt_base import AdaptSummary
    from idiolect.training.runs.summary import PersonalSummary
    from idiolect.training.sharded.shards import MergeSummary


def adapt(request: AdaptRequest, *, listener: Listener = null_listener) -> AdaptSummary:
    """Adapt a base to the dataset's task on its people, without those of its test split.

    Args:
        request: Which base, and on whose histories.
        listener: Called with progress.

    Returns:
        The new base, and on how many people and items it was trained.

    Raises:
        UsageError: If ``out`` exists, or nobody is left to train on.

    Example:
        >>> adapt(AdaptRequest(data=Path("data/films"), out=Path("film-base")))
    """
    from idiolect.history.dataset import read_dataset
    from idiolect.models.base import load_base
    from idiolect.models.encoder import MiniLM
    from idiolect.profiles.store import load_profiles as load_profiles
    from idiolect.tasks.registry import get_task
    from idiolect.training.adapt_base import AdaptConfig, ExcludedTestSet
    from idiolect.training.adapt_base import adapt_to_task as adapt_base

    config, out = request.config or AdaptConfig(), request.out
    dataset = read_dataset(request.data)
    task = get_task(dataset.task)
    apart = [*dict.fromkeys([*request.exclude, *dataset.list_split_people("test")])]
    able = dataset.list_split_people("other") or dataset.people
    chosen = [p for p in (request.people or able) if p not in set(apart)]
    if out.exists():
        raise UsageError(f"{out}: already exists; name a new folder")
    profiles = request.profiles
    return adapt_base(
        load_base(request.base, dtype=config.dtype, device=config.device),
        task,
        list(dataset.iter_histories(chosen)),
        ExcludedTestSet(task, dataset.iter_histories(apart)),
        out,
        config,
        profiles=load_profiles(profiles, task=task.name) if profiles else None,
        encoder=MiniLM() if config.context.retrieval == "dense" else None,
        listener=listener,
    )


def personalize(
    request: PersonalizeRequest, *, listener: Listener = null_listener
) -> PersonalSummary:
    """Train the adapters of a dataset's people into a store, but only of those who need it.

    Args:
        request: Whose adapters to train, on what, and into which store.
        listener: Called with progress.

    Returns:
        Who was trained, who was left as they were, and who is served by the base.

    Raises:
        IdiolectError: If the data, the base or the settings do not fit together, or training fails.

    Example:
        >>> personalize(PersonalizeRequest(data=Path("data/me"), store=Path("mine")))
    """
    from functools import partial

    from idiolect.pieces.recipes.initial_adapters import (
        MixtureInitialAdapters,
        require_not_from_pieces,
        set_start_recipes,
    )
    from idiolect.training.runs.plan import PersonalConfig
    from idiolect.training.runs.run import PersonalizeRun, set_start_adapter

    config = set_start_adapter(request.config or PersonalConfig(), request.start)
    open_starts = None
    if request.pieces is not None:
        config = set_start_recipes(config, request.pieces, request.store)
        open_starts = partial(MixtureInitialAdapters, request.pieces.absolute())
    else:
        require_not_from_pieces(request.store)
    request = replace(request, config=config)
    if request.ray is not None:
        from idiolect.training.sharded.ray import personalize_on_ray

        return personalize_on_ray(request, open_starts=open_starts, listener=listener)
    if request.shard is not None:
        from idiolect.training.sharded.parts import RunShard
        from idiolect.training.sharded.shards import run_shard

        shard = RunShard.parse(request.shard)
        return run_shard(PersonalizeRun(request, open_starts=open_starts, listener=listener), shard)
    from idiolect.training.sharded.parts import require_no_parts

    require_no_parts(request.store)
    return PersonalizeRun(request, open_starts=open_starts, listener=listener).run_unsharded()


def merge(store: Path, *, wait: bool = True) -> MergeSummary:
    """Take the parts that the shards of a run left into their store; again, it does nothing."""
    from idiolect.training.sharded.shards import merge_parts as merge_parts

    return merge_parts(store, wait=wait)
