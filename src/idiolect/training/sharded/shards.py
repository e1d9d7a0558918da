"""A run of personalizing in shards: train one into its part of the store, merge all parts.

Shard k trains its people into ``STORE/parts/k-of-N``, a store of its own, and writes nothing else;
``merge`` takes the parts into the store. Both may be killed and run again at any time. Knows files
and people; who runs the shards, and where, is for others (``on_ray.py``, Slurm, Kubernetes).
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
"""What was merged last: a shard of the same work that has nothing to do leaves no part behind."""
_MERGED_FOLDER = "parts.merged"
"""The parts' folder once everything in it is in the store, until it is removed."""


@dataclass(frozen=True, kw_only=True)
class MergeSummary:
    """What merging did."""

    store: Path
    parts: int
    """Parts that were there; they are gone now."""
    new: int
    """People who came into the store or whose adapter there was replaced."""
    people: int
    """Everyone whom the store knows now."""
    seconds: float


def run_shard(run: PersonalizeRun, shard: RunShard) -> PersonalSummary:
    """Train the people of one shard into its part, but those whom part or store have already.

    Raises UsageError where parts of another number of shards wait to be merged.
    """
    store, context = run.request.store, run.context
    _remove_merged_parts(store)
    require_shard_count(store, shard.total)
    known = [AdapterStore.open(store)] if (store / AdapterStore.HEADER_FILE).is_file() else []
    for main in known:
        main.check_compatible(
            base=context.base.identity, task=context.task.name, config=run.config.lora
        )
    people = [person for person in run.people if shard.includes_person(person)]
    asked, folder = _describe_run(run), shard.get_folder(store)
    if not folder.exists() and known and _read_last_merge(store) == [shard.total, asked]:
        plan = Planner(context, known).plan_person
        if all(plan(history) is None for history in run.dataset.iter_histories(people)):
            return PersonalSummary(unchanged=tuple(people))
    part = run.create_store(folder)
    with part.lock_for_writing(wait=run.request.wait):
        write_state(folder, asked, finished=False)
        trainer = run.create_personalizer(part, known=known)
        summary = trainer.run(run.dataset.iter_histories(people), people=len(people))
        write_state(folder, asked, finished=True)
    return summary


def merge_parts(store: Path, *, wait: bool = True) -> MergeSummary:
    """Take the parts of a sharded run into the store, and remove them.

    Where no parts are there, nothing is done. Raises MissingError where a part is missing or not
    finished, MismatchError where parts are not of one run, IntegrityError for damaged ones,
    BusyError where somebody writes one or the store.
    """
    started = time.monotonic()
    _remove_merged_parts(store)
    parts = list_parts(store)
    if not parts:
        people = len(AdapterStore.open(store).people)
        return MergeSummary(store=store, parts=0, new=0, people=people, seconds=0.0)
    of, asked = parts[0].total, require_complete(store, parts)
    main = AdapterStore.create_like(store, AdapterStore.open(parts[0].get_folder(store)))
    new = 0
    with main.lock_for_writing(wait=wait):
        parts = list_parts(store)  # none where another process merged them meanwhile
        for shard in parts:
            new += _merge_part(main, shard, asked)
        main.compact()
        write_json(store / LAST_MERGE_FILE, [of, asked])
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


def _merge_part(main: AdapterStore, shard: RunShard, asked: Mapping[str, Any]) -> int:
    """One part's people into the store; gives how many are new or replaced."""
    part = AdapterStore.open(shard.get_folder(main.folder))
    with part.lock_for_writing(wait=False):
        require_finished(shard, main.folder, asked)
        new = main.find_missing_records(part)
        trained = [record.person for record in new if record.steps]
        Ledger(main.folder / "ledger").record_event("trained", trained, {"base": main.base})
        main.merge_from(part)
        log = part.folder / "metrics.jsonl"
        if log.is_file():
            with (main.folder / log.name).open("ab") as out:
                out.write(log.read_bytes())
            log.unlink()
    return len(new)


def _describe_run(run: PersonalizeRun) -> dict[str, Any]:
    """Everything that must be the same in all shards of a run; plain data that names nobody."""
    request, context = run.request, run.context
    settings = to_plain(context.config)
    del settings["device"]
    profiles = sorted(p.text for told in context.profiles.values() for p in told)
    return {
        "base": context.base.identity,
        "data": compute_fingerprint(run.dataset.manifest["files"]),
        "people": compute_fingerprint(sorted(request.people)) if request.people else "all",
        "profiles": compute_fingerprint(profiles) if request.profiles else "none",
        "mode": context.mode,
        "settings": settings,
    }


def _read_last_merge(store: Path) -> Any:
    """What was merged last, ``None`` where nothing was."""
    return read_json(store / LAST_MERGE_FILE) if (store / LAST_MERGE_FILE).is_file() else None


def _remove_merged_parts(store: Path) -> None:
    """Remove parts that are merged, also those whose removal a kill has stopped."""
    shutil.rmtree(store / _MERGED_FOLDER, ignore_errors=True)
