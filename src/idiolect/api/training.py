"""API functions that train: adapt a base model, personalize, and merge sharded runs."""

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
    """Adapt a base model to a dataset's task, without the people of its test split.

    Trains one adapter on the items of many people, merges it into the base model, and writes the
    result as a new base model. Personal adapters that are trained on the new base model learn what
    is personal instead of what the task is.

    Args:
        request: The base model, the dataset, and the people.
        listener: Receives progress events.

    Returns:
        The new base model, and the number of people, items and tokens it was trained on.

    Raises:
        MissingError: If the dataset, or a person in it, does not exist.
        MismatchError: If a history holds what was forgotten.
        UsageError: If ``out`` exists, if a setting is invalid, or if no items are left to train on.

    Example:
        >>> adapt(AdaptRequest(data=Path("data/films"), out=Path("film-base")))
    """
    from idiolect.history.dataset import read_dataset
    from idiolect.history.suppress import require_none_forgotten
    from idiolect.models.encoder import MiniLM
    from idiolect.models.load import load_base
    from idiolect.profiles.store import load_profiles
    from idiolect.tasks.registry import get_task
    from idiolect.training.adapt_base import AdaptConfig, ExcludedTestSet, adapt_to_task

    config, out = request.config or AdaptConfig(), request.out
    dataset = read_dataset(request.data)
    task = get_task(dataset.task)
    # People of the test split are excluded even if they are named: evaluation needs unseen people.
    excluded = [*dict.fromkeys([*request.exclude, *dataset.list_split_people("test")])]
    candidates = request.people or dataset.list_split_people("other") or dataset.people
    chosen = [person for person in candidates if person not in set(excluded)]
    if out.exists():
        raise UsageError(f"{out}: already exists; name a new folder")
    profiles, histories = request.profiles, list(dataset.iter_histories(chosen))
    require_none_forgotten(histories, task.name, request.data, out)
    return adapt_to_task(
        load_base(request.base, dtype=config.dtype, device=config.device, listener=listener),
        task,
        histories,
        ExcludedTestSet(task, dataset.iter_histories(excluded)),
        out,
        config,
        profiles=load_profiles(profiles, task=task.name) if profiles else None,
        encoder=MiniLM() if config.context.retrieval == "dense" else None,
        listener=listener,
    )


def personalize(
    request: PersonalizeRequest, *, listener: Listener = null_listener
) -> PersonalSummary:
    """Train one adapter for each person of a dataset and write the adapters to a store.

    Only people without an up-to-date adapter are trained, so the same call resumes after an
    interruption and trains people whose history has changed. The base model serves people with too
    few items, and people whose adapter does not help on the last part of their own history (the
    do-no-harm gate). See ``PersonalizeRequest`` for shards, Ray, and other starting points.

    Args:
        request: The dataset, the store, the base model, and the settings.
        listener: Receives progress events.

    Returns:
        The people who were trained, those who were unchanged, those served by the base model, and
        those whose adapter stays because the dataset has an older history (``allow_older``).

    Raises:
        MissingError: If the dataset, a person, profiles, or recipes do not exist.
        MismatchError: If the store was made for another base model, task or configuration.
        UsageError: If settings are invalid or do not fit the task.
        BusyError: If another process writes the store and ``wait`` is not set.
        TrainingError: If a loss or a weight is not finite.

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
    from idiolect.training.runs.run import (
        PersonalizeRun,
        set_private_training,
        set_start_adapter,
    )

    # Training starts from fresh adapters, from one given adapter, or from each person's recipe.
    config = set_start_adapter(request.config or PersonalConfig(), request.start)
    config = set_private_training(config, request)
    open_starts = None
    if request.pieces is not None:
        config = set_start_recipes(config, request.pieces, request.store)
        open_starts = partial(MixtureInitialAdapters, request.pieces.absolute())
    else:
        require_not_from_pieces(request.store)
    request = replace(request, config=config)
    # Run all shards on Ray, one shard, or everything in this process.
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
    """Merge the parts of a sharded run into their store and remove the parts.

    Repeating the call does nothing.

    Args:
        store: Folder of the adapters.
        wait: Wait if another process writes the store; otherwise raise BusyError.

    Returns:
        The number of parts, and the number of new people and of all people in the store.

    Raises:
        MissingError: If a part is missing or unfinished, or if there is no store.
        MismatchError: If the parts belong to different runs.
        BusyError: If another process writes the store and ``wait`` is not set.

    Example:
        >>> merge(Path("raters"))
    """
    from idiolect.training.sharded.shards import merge_parts

    return merge_parts(store, wait=wait)
