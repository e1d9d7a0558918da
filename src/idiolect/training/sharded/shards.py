"""A run of personalization in shards: train one shard into its part of the store; merge all parts.

Shard k trains its people into ``STORE/parts/k-of-N``, a store of its own, and writes nothing else.
``merge_parts`` moves the parts into the store. Both can be killed and run again at any time. Where
the shards run (Ray, Slurm, Kubernetes) is not decided here.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect.adapters.store.store import PARTS_FOLDER, AdapterStore
from idiolect.config import compute_fingerprint, to_plain
from idiolect.privacy.ledger import Ledger
from idiolect.storage.files import read_json, write_json
from idiolect.storage.permissions import create_empty_file
from idiolect.training.runs.plan import Planner
from idiolect.training.runs.run import PersonalizeRun
from idiolect.training.runs.summary import PersonalSummary
from idiolect.training.sharded.parts import (
    RunShard,
    list_parts,
    require_complete,
    require_finished,
    require_shard_count,
    write_state,
)

LAST_MERGE_FILE = "merged.json"
"""The run that was merged last: a shard of the same run without work then writes no part."""
_MERGED_FOLDER = "parts.merged"
"""The name of the parts' folder after everything in it is in the store, until it is removed."""


@dataclass(frozen=True, kw_only=True)
class MergeSummary:
    """What a merge did."""

    store: Path
    parts: int
    """The number of merged parts."""
    new: int
    """People who are new in the store, or whose adapter was replaced."""
    people: int
    """All people in the store now."""
    seconds: float


def run_shard(run: PersonalizeRun, shard: RunShard) -> PersonalSummary:
    """Train the people of one shard into its part, except those in the part or the store already.

    Raises UsageError if parts of another number of shards wait to be merged.
    """
    store, context = run.request.store, run.context
    _remove_merged_parts(store)
    require_shard_count(store, shard.total)
    # The main store is read only: people whose adapter there is up to date are not trained.
    known = [AdapterStore.open(store)] if (store / AdapterStore.HEADER_FILE).is_file() else []
    for main in known:
        main.check_compatible(
            base=context.base.identity, task=context.task.name, config=run.config.lora
        )
    people = [person for person in run.people if shard.includes_person(person)]
    description, folder = _describe_run(run), shard.get_folder(store)
    # After a merge of the same run, a shard without work must not leave an empty part: that part
    # would wait for a merge forever.
    if not folder.exists() and known and _read_last_merge(store) == [shard.total, description]:
        plan = Planner(context, known).plan_person
        if all(plan(history) is None for history in run.dataset.iter_histories(people)):
            return PersonalSummary(unchanged=tuple(people))
    # "finished" is written last, so a killed shard is not mistaken for a finished one.
    part = run.create_store(folder)
    with part.lock_for_writing(wait=run.request.wait):
        write_state(folder, description, finished=False)
        trainer = run.create_personalizer(part, known=known)
        summary = trainer.run(run.dataset.iter_histories(people), people=len(people))
        write_state(folder, description, finished=True)
    return summary


def merge_parts(store: Path, *, wait: bool = True) -> MergeSummary:
    """Move the parts of a sharded run into the store, and remove them.

    Does nothing without parts. Raises MissingError if a part is missing or not finished,
    MismatchError if parts are of different runs, IntegrityError if one is damaged, BusyError if
    another process writes one or the store.
    """
    started = time.monotonic()
    _remove_merged_parts(store)
    parts = list_parts(store)
    if not parts:
        people = len(AdapterStore.open(store).people)
        return MergeSummary(store=store, parts=0, new=0, people=people, seconds=0.0)
    # Check that all parts are complete and of one run before anything is written.
    of, description = parts[0].total, require_complete(store, parts)
    main = AdapterStore.create_like(store, AdapterStore.open(parts[0].get_folder(store)))
    new = 0
    with main.lock_for_writing(wait=wait):
        parts = list_parts(store)  # again: another process may have merged them meanwhile
        for shard in parts:
            new += _merge_part(main, shard, description)
        main.compact()
        write_json(store / LAST_MERGE_FILE, [of, description])
        # One rename makes the merge final; a kill during the removal leaves only this folder.
        if parts:
            (store / PARTS_FOLDER).rename(store / _MERGED_FOLDER)
        _remove_merged_parts(store)
    return MergeSummary(
        store=store,
        parts=len(parts),
        new=new,
        people=len(main.people),
        seconds=time.monotonic() - started,
    )


def _merge_part(main: AdapterStore, shard: RunShard, description: Mapping[str, Any]) -> int:
    """Move one part's people into the store; returns how many are new or replaced."""
    part = AdapterStore.open(shard.get_folder(main.folder))
    with part.lock_for_writing(wait=False):
        require_finished(shard, main.folder, description)
        new = main.find_missing_records(part)
        # The ledger comes first: a kill in between leaves an event too many, never one too few.
        trained = [record.person for record in new if record.steps]
        Ledger(main.folder / "ledger").record_event("trained", trained, {"base": main.base})
        main.merge_from(part)
        log = part.folder / "metrics.jsonl"
        if log.is_file():
            create_empty_file(main.folder / log.name)
            with (main.folder / log.name).open("ab") as out:
                out.write(log.read_bytes())
            log.unlink()
    return len(new)


def _describe_run(run: PersonalizeRun) -> dict[str, Any]:
    """Return everything that must be equal in all shards of a run, without names of people."""
    request, context = run.request, run.context
    # Machines may have different devices, so the device is left out.
    settings = to_plain(context.config)
    del settings["device"]
    profiles = sorted(p.text for texts in context.profiles.values() for p in texts)
    return {
        "base": context.base.identity,
        "data": compute_fingerprint(run.dataset.manifest["files"]),
        "people": compute_fingerprint(sorted(request.people)) if request.people else "all",
        "profiles": compute_fingerprint(profiles) if request.profiles else "none",
        "mode": context.mode,
        "settings": settings,
    }


def _read_last_merge(store: Path) -> Any:
    """Return the run that was merged last; ``None`` if there is none."""
    return read_json(store / LAST_MERGE_FILE) if (store / LAST_MERGE_FILE).is_file() else None


def _remove_merged_parts(store: Path) -> None:
    """Remove parts that are merged, also after a kill interrupted their removal."""
    shutil.rmtree(store / _MERGED_FOLDER, ignore_errors=True)
