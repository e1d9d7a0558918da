"""The verbs: what the commands do, as functions. Heavy imports stand inside them.

Paths come in, plain values go out; progress is told to a ``Listener``. Every verb raises errors of
the tree in ``errors.py`` and leaves nothing half-written.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from idiolect.errors import UsageError
from idiolect.events import Listener, silent

if TYPE_CHECKING:
    from idiolect.adapters.exchange import Taken
    from idiolect.evaluation.runner import EvaluateConfig
    from idiolect.generation.serve import Prediction
    from idiolect.history import Description
    from idiolect.importers import ImportReport
    from idiolect.pieces.assembling import AssembleSummary
    from idiolect.pieces.settings import RecipeConfig
    from idiolect.pieces.share import ShareSummary
    from idiolect.pieces.sharing import ShareConfig
    from idiolect.pieces.withdraw import WithdrawSummary
    from idiolect.storage import Consent, Scope
    from idiolect.training.adapt import AdaptConfig, AdaptSummary
    from idiolect.training.layout import EngineConfig
    from idiolect.training.personalize import PersonalConfig, PersonalSummary
    from idiolect.training.scale import MergeSummary

_LAZY = {
    "AdaptConfig": "idiolect.training.adapt",
    "AssembleSummary": "idiolect.pieces.assembling",
    "EngineConfig": "idiolect.training.layout",
    "EvaluateConfig": "idiolect.evaluation.runner",
    "MergeSummary": "idiolect.training.scale",
    "PersonalConfig": "idiolect.training.personalize",
    "Prediction": "idiolect.generation.serve",
    "RecipeConfig": "idiolect.pieces.settings",
    "ShareConfig": "idiolect.pieces.sharing",
    "ShareSummary": "idiolect.pieces.share",
    "Taken": "idiolect.adapters.exchange",
    "WithdrawSummary": "idiolect.pieces.withdraw",
}
"""These classes are part of the verbs, yet loading them loads torch."""


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(name)


@dataclass(frozen=True, kw_only=True)
class ProfileSummary:
    """What writing profiles did."""

    out: Path
    writer: str
    people: int
    profiles: int
    seconds: float


def import_data(
    source: Path | None,
    out: Path | None,
    *,
    format: str | None = None,
    task: str | None = None,
    person: str | None = None,
    person_role: str | None = None,
    split: str | None = None,
    name: str | None = None,
    overwrite: bool = False,
    dry_run: bool = False,
) -> ImportReport:
    """Read a foreign export into a dataset folder; with ``dry_run`` only report."""
    from idiolect.importers import ImportOptions, import_histories

    options = ImportOptions(
        task=task or "", person=person or "", person_role=person_role or "", split=split or ""
    )
    if out is None and not dry_run:
        raise UsageError("name the dataset folder to write, or ask for a dry run")
    imported = import_histories(source, format=format or "", options=options)
    if not dry_run and out is not None:
        imported.write(out, name=name or "", overwrite=overwrite)
    return imported.report


def inspect_data(data: Path) -> Description:
    """What stands in a dataset."""
    from idiolect import tasks
    from idiolect.history import describe, read_dataset

    dataset = read_dataset(data)
    return describe(dataset, answer_field=tasks.get(dataset.task).target_field)


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
    from idiolect import tasks
    from idiolect.history import read_dataset
    from idiolect.models import MiniLM, load_base
    from idiolect.profiles import load as load_profiles
    from idiolect.training.adapt import AdaptConfig, Exclusion
    from idiolect.training.adapt import adapt as adapt_base

    config = config or AdaptConfig()
    dataset = read_dataset(data)
    task = tasks.get(dataset.task)
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


def profile(
    data: Path,
    out: Path,
    *,
    base: str = "default",
    writer: str = "model",
    people: Sequence[str] = (),
    listener: Listener = silent,
) -> ProfileSummary:
    """Write textual profiles of a dataset's people: by the base model, or as plain facts."""
    from idiolect import tasks
    from idiolect.history import read_dataset
    from idiolect.profiles import FACTS, write_profiles

    started = time.monotonic()
    dataset = read_dataset(data)
    histories = list(dataset.histories(people or None))
    task = tasks.get(dataset.task)
    if writer == FACTS:
        made = write_profiles(histories, task, folder=out, listener=listener)
    elif writer == "model":
        from idiolect.generation.writer import BaseWriter
        from idiolect.models import load_base

        by = BaseWriter(load_base(base))
        made = write_profiles(
            histories, task, by, name=by.name, folder=out, batch=8, listener=listener
        )
    else:
        raise UsageError(f"unknown writer {writer!r}; known: model, {FACTS}")
    count = sum(map(len, made.values()))
    return ProfileSummary(
        out=out,
        writer=writer,
        people=len(made),
        profiles=count,
        seconds=time.monotonic() - started,
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

    from idiolect.pieces.starts import (
        AssembledStarts,
        require_not_from_pieces,
        starting_from_recipes,
    )
    from idiolect.training.layout import EngineConfig
    from idiolect.training.personalize import PersonalConfig
    from idiolect.training.work import Work, Worker, starting_from

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
        from idiolect.training.on_ray import personalize_on_ray

        return personalize_on_ray(
            work, ray, shards=shards, workers=workers, wait=wait, listener=listener
        )
    if shard is not None:
        from idiolect.training.parts import RunShard
        from idiolect.training.scale import run_shard

        chosen = RunShard.parse(shard)
        return run_shard(Worker(work, listener=listener), chosen, wait=wait)
    from idiolect.training.parts import require_no_parts

    require_no_parts(store)
    return Worker(work, listener=listener).whole(wait=wait)


def assemble(
    data: Path,
    pool: Path,
    out: Path,
    *,
    base: str | None = None,
    config: RecipeConfig | None = None,
    people: Sequence[str] = (),
    wait: bool = True,
    listener: Listener = silent,
) -> AssembleSummary:
    """Make the recipes of a dataset's people from a pool of pieces: only of those who need one.

    A recipe says which pieces make a person's adapter; ``predict``, ``export`` and ``personalize``
    take the folder ``out``. Who has no usable item is served by the base. Raises DataError where
    nobody has one, UsageError where the pool has too few sharers.
    """
    from idiolect.pieces.assemble_data import assemble_data

    return assemble_data(
        data,
        pool,
        out,
        base=base,
        config=config,
        people=people,
        wait=wait,
        listener=listener,
    )


def merge(store: Path, *, wait: bool = True) -> MergeSummary:
    """Take the parts that the shards of a run left into their store; again, it does nothing."""
    from idiolect.training.scale import merge as merge_parts

    return merge_parts(store, wait=wait)


def predict(
    store: Path,
    person: str,
    text: str,
    *,
    base: str | None = None,
    data: Path | None = None,
    profiles: Path | None = None,
    pool: Path | None = None,
) -> Prediction:
    """Answer one question of the store's task as one person would.

    ``store``: a folder of adapters, or of recipes; ``pool`` is where the recipes' pool lies now.
    ``data`` is the person's dataset and ``profiles`` their profiles: a store whose adapters were
    trained with retrieval or with profiles needs them.
    """
    from idiolect.generation.serve import predict_one
    from idiolect.pieces.sources import open_source

    source = open_source(store, pool)
    return predict_one(source, person, text, base=base, data=data, profiles=profiles)


def evaluate(
    data: Path,
    out: Path,
    *,
    base: str = "default",
    rag_base: str | None = None,
    pag_base: str | None = None,
    methods: Sequence[str] = (),
    people: Sequence[str] | int = (),
    config: EvaluateConfig | None = None,
    listener: Listener = silent,
) -> dict[str, Any]:
    """Compare methods on a dataset's people and write the report; gives its content.

    ``rag_base`` and ``pag_base``: bases adapted with retrieval and with profiles, for the methods
    that use these (OPPU adapts one for each); without them those methods run on ``base``.
    """
    from idiolect.evaluation.whole import evaluate_dataset

    return evaluate_dataset(
        data,
        out,
        base=base,
        rag_base=rag_base,
        pag_base=pag_base,
        methods=methods,
        people=people,
        config=config,
        listener=listener,
    )


def export(
    store: Path,
    person: str,
    out: Path,
    *,
    format: str = "peft",
    on: Literal["base", "public"] = "base",
    base: str | None = None,
    pool: Path | None = None,
) -> Path:
    """Write a person's adapter in PEFT's format.

    ``store``: a folder of adapters, or of recipes; ``pool`` is where the recipes' pool lies now.
    ``on="public"`` stacks it with the task adapter of its base, so that it runs on the public base.
    """
    from idiolect.adapters.exchange import export_adapter
    from idiolect.pieces.sources import open_source

    if format != "peft":
        raise UsageError(f"unknown format {format!r}; known: peft")
    return export_adapter(open_source(store, pool), person, out, on=on, base=base)


def consent(
    store: Path,
    people: Sequence[str],
    scope: Scope,
    *,
    until: date | None = None,
    revoke: bool = False,
) -> tuple[Consent, ...]:
    """Record that some of a store's people agree to a scope of sharing, or take that back.

    ``until`` is the last day on which it holds (UTC). Gives what now stands of them; who takes back
    what they never gave is not among them. Raises MissingError for a stranger, UsageError for an
    unknown scope, a day that has passed, or where nobody is named; nothing is recorded then.
    """
    from idiolect.adapters.consent import record_consent, take_consent_back

    if not revoke:
        return record_consent(store, people, scope, until=until)
    if until is not None:
        raise UsageError("a consent is taken back at once: leave the day until which it holds out")
    return take_consent_back(store, people, scope)


def consents(store: Path) -> tuple[Consent, ...]:
    """Everyone's consents, by person and scope, with whether they hold now."""
    from idiolect.adapters.consent import consents_in

    return consents_in(store)


def share(
    store: Path,
    data: Path,
    pool: Path,
    *,
    base: str | None = None,
    config: ShareConfig | None = None,
    engine: EngineConfig | None = None,
    people: Sequence[str] = (),
    profiles: Path | None = None,
    override_leakage: str | None = None,
    wait: bool = True,
    listener: Listener = silent,
) -> ShareSummary:
    """Cut adapters of people who agreed into gated pieces, and put them into a pool.

    Who shares is chosen among those whose consent (scope ``pieces``) holds, or named in ``people``;
    ``data`` holds the histories that their adapters were trained on. Nothing but numbers goes into
    the pool, under a pseudonym drawn for it. Whoever an audit finds to give too much away is left
    out, unless ``override_leakage`` says why not; the ledger keeps that. Again, it goes on with
    whom it had not finished, and leaves alone who is in the pool. Raises MissingError where nobody
    agreed, or somebody named did not.
    """
    from idiolect.pieces.share import share as share_pieces

    return share_pieces(
        store,
        data,
        pool,
        base=base,
        config=config,
        engine=engine,
        people=people,
        profiles=profiles,
        override_leakage=override_leakage,
        wait=wait,
        listener=listener,
    )


def pool_report(pool: Path, out: Path, *, recipes: Path | None = None) -> dict[str, Any]:
    """Write a report of a pool, and of whom it helps in some recipes; gives its content.

    ``out`` gets ``report.json`` and ``report.html``. Sharers stand in them under the pool's
    pseudonyms, people with recipes as numbers. Raises MismatchError for recipes of another pool.
    """
    from idiolect.evaluation.pool_report import pool_report as report

    return report(pool, out, recipes=recipes)


def withdraw(
    pool: Path,
    *,
    sharers: Sequence[str] = (),
    store: Path | None = None,
    people: Sequence[str] = (),
    within: Sequence[Path] = (),
    data: Path | None = None,
    base: str | None = None,
    profiles: Path | None = None,
    wait: bool = True,
    listener: Listener = silent,
) -> WithdrawSummary:
    """Take sharers out of a pool, and what was made of their pieces out of the folders ``within``.

    They are named by pseudonym (``sharers``), or as ``people`` of the ``store`` that shared them.
    Without ``within`` the folder that the pool lies in is looked through. Recipes, and adapters
    trained from them, of people in ``data`` are made anew; all others are taken away, exported
    adapters and reports deleted. Again, it finishes what a kill left. Raises MissingError for
    sharers whom nothing knows, UsageError where nobody is named; nothing has happened then.
    """
    from idiolect.pieces.withdraw import withdraw as withdraw_sharers

    return withdraw_sharers(
        pool,
        sharers=sharers,
        store=store,
        people=people,
        within=within,
        data=data,
        base=base,
        profiles=profiles,
        wait=wait,
        listener=listener,
    )


def mean(store: Path, people: Sequence[str], out: Path, *, base: str | None = None) -> Path:
    """Write the mean of some people's adapters in PEFT's format: where others' training can start.

    What is common to their words is in it, so each of them must have agreed (``consent``, scope
    ``mean``); the store's ledger keeps that it was made. Raises UsageError where nobody is named,
    MissingError for who has no adapter and who has not agreed.
    """
    from idiolect.adapters.exchange import export_mean
    from idiolect.pieces.sources import open_store

    return export_mean(open_store(store), people, out, base=base)


def import_adapter(
    folder: Path, store: Path, person: str, *, base: str | None = None, replace: bool = False
) -> Taken:
    """Take a PEFT adapter into a store as a person's own."""
    from idiolect.adapters.exchange import take_adapter

    return take_adapter(folder, store, person, base=base, replace=replace)


def demo(
    out: Path = Path("demo"),
    *,
    people: int | None = None,
    seed: int = 0,
    listener: Listener = silent,
) -> dict[str, Any]:
    """The whole way on real people, in minutes; writes the report and gives its content."""
    from idiolect.evaluation.whole import demonstrate

    return demonstrate(out, people=people, seed=seed, listener=listener)
