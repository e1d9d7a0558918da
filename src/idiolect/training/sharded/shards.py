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

from idiolect.adapters.store.store import PARTS, AdapterStore
from idiolect.config import fingerprint, to_plain
from idiolect.privacy.ledger import Ledger
from idiolect.storage.files import read_json, write_json
from idiolect.training.runs.plan import Planner
from idiolect.training.runs.run import PersonalizeRun
from idiolect.training.runs.summary import PersonalSummary
from idiolect.training.sharded.parts import (
    RunShard,
    mark,
    parts_of,
    require_count,
    require_finished,
    require_whole,
)

MERGED = "merged.json"
"""What was merged last: a shard of the same work that has nothing to do leaves no part behind."""
_DONE = "parts.merged"
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
    _clean(store)
    require_count(store, shard.of)
    known = [AdapterStore.open(store)] if (store / AdapterStore.HEAD).is_file() else []
    for main in known:
        main.require(base=context.base.identity, task=context.task.name, config=run.config.lora)
    people = [person for person in run.people if shard.holds(person)]
    asked, folder = _asked(run), shard.folder(store)
    if not folder.exists() and known and _merged(store) == [shard.of, asked]:
        plan = Planner(context, known).plan
        if all(plan(history) is None for history in run.dataset.histories(people)):
            return PersonalSummary(unchanged=tuple(people))
    part = run.create_store(folder)
    with part.writing(wait=run.request.wait):
        mark(folder, asked, finished=False)
        trainer = run.create_personalizer(part, known=known)
        summary = trainer.run(run.dataset.histories(people), people=len(people))
        mark(folder, asked, finished=True)
    return summary


def merge(store: Path, *, wait: bool = True) -> MergeSummary:
    """Take the parts of a sharded run into the store, and remove them.

    Where no parts are there, nothing is done. Raises MissingError where a part is missing or not
    finished, MismatchError where parts are not of one run, IntegrityError for damaged ones,
    BusyError where somebody writes one or the store.
    """
    started = time.monotonic()
    _clean(store)
    parts = parts_of(store)
    if not parts:
        people = len(AdapterStore.open(store).people)
        return MergeSummary(store=store, parts=0, new=0, people=people, seconds=0.0)
    of, asked = parts[0].of, require_whole(store, parts)
    main = AdapterStore.like(store, AdapterStore.open(parts[0].folder(store)))
    new = 0
    with main.writing(wait=wait):
        parts = parts_of(store)  # none where another process merged them meanwhile
        for shard in parts:
            new += _take(main, shard, asked)
        main.compact()
        write_json(store / MERGED, [of, asked])
        if parts:
            (store / PARTS).rename(store / _DONE)
        _clean(store)
    return MergeSummary(
        store=store,
        parts=len(parts),
        new=new,
        people=len(main.people),
        seconds=time.monotonic() - started,
    )


def _take(main: AdapterStore, shard: RunShard, asked: Mapping[str, Any]) -> int:
    """One part's people into the store; gives how many are new or replaced."""
    part = AdapterStore.open(shard.folder(main.folder))
    with part.writing(wait=False):
        require_finished(shard, main.folder, asked)
        new = main.unknown(part)
        trained = [record.person for record in new if record.steps]
        Ledger(main.folder / "ledger").record("trained", trained, {"base": main.base})
        main.take(part)
        log = part.folder / "metrics.jsonl"
        if log.is_file():
            with (main.folder / log.name).open("ab") as out:
                out.write(log.read_bytes())
            log.unlink()
    return len(new)


def _asked(run: PersonalizeRun) -> dict[str, Any]:
    """Everything that must be the same in all shards of a run; plain data that names nobody."""
    request, context = run.request, run.context
    settings = to_plain(context.config)
    del settings["device"]
    profiles = sorted(p.text for told in context.profiles.values() for p in told)
    return {
        "base": context.base.identity,
        "data": fingerprint(run.dataset.manifest["files"]),
        "people": fingerprint(sorted(request.people)) if request.people else "all",
        "profiles": fingerprint(profiles) if request.profiles else "none",
        "mode": context.mode,
        "settings": settings,
    }


def _merged(store: Path) -> Any:
    """What was merged last, ``None`` where nothing was."""
    return read_json(store / MERGED) if (store / MERGED).is_file() else None


def _clean(store: Path) -> None:
    """Remove parts that are merged, also those whose removal a kill has stopped."""
    shutil.rmtree(store / _DONE, ignore_errors=True)
