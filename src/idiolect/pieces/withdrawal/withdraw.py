"""Withdraws sharers from a pool: deletes their pieces, and rebuilds or removes what was made of
them.

The pieces are deleted first; from then on, anything made of them is refused if the pool is
available. Dependents follow, folder by folder. If a run is killed, the same call completes it. Only
the ledger of the sharers' own store keeps the pseudonym: it is append-only, a withdrawal by
person must find what a killed run left, and the store holds that person's whole adapter anyway.
Erasing the person from that ledger removes it (``Ledger.forget_person``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.adapters.store.consent import open_ledger
from idiolect.adapters.store.store import AdapterStore
from idiolect.config import from_plain
from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.events import Listener, null_listener
from idiolect.history.dataset import Dataset, read_dataset
from idiolect.models.base import Base
from idiolect.models.folder.model_source import require_base_files
from idiolect.models.load import load_base
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import RecipeConfig
from idiolect.pieces.sharing.pool_ledger import PoolLedger
from idiolect.pieces.withdrawal.dependents import Dependents, find_dependents, find_mentions
from idiolect.pieces.withdrawal.remake import BaseKind, RebuildEffect, Rebuilder, delete_export
from idiolect.pieces.withdrawal.request import WithdrawRequest
from idiolect.privacy.ledger import Ledger
from idiolect.storage.files import hold_lock, read_json, write_json
from idiolect.storage.tree import require_no_outside_links


@dataclass(frozen=True, kw_only=True)
class WithdrawSummary:
    """The result of a run."""

    pool: Path
    sharers: tuple[str, ...]
    """The sharers whose pieces are out of the pool, by pseudonym."""
    left: int
    """Number of sharers still in the pool."""
    searched: tuple[Path, ...]
    """The folders that were searched for what was made of the pieces."""
    effects: tuple[RebuildEffect, ...]
    ledgers: tuple[Path, ...]
    """Stores whose ledger records the withdrawal."""
    unreadable: tuple[str, ...]
    """What could not be searched, and why."""
    mentions: tuple[Path, ...]
    """Text files of unknown origin that still name one of the sharers."""
    seconds: float


def withdraw_sharers(
    request: WithdrawRequest, *, listener: Listener = null_listener
) -> WithdrawSummary:
    """Implement ``api.withdraw``."""
    started = time.monotonic()
    pool, store, wait = request.pool, request.store, request.wait
    opened = Pool.open(pool)
    folders = _resolve_search_folders(pool, request.within)
    # Resolve and check everything, and load the bases, before the first change.
    names = frozenset((*request.sharers, *_find_pseudonyms(opened, store, request.people)))
    if not names:
        raise UsageError("name the sharers who withdraw: --sharer, or --store with --person")
    dataset = _open_dataset(request.data, opened)
    found = find_dependents(folders, opened, names)
    named = [store] if store else []
    for folder in named:
        require_no_outside_links(folder)
    stores = [*{folder.resolve(): folder for folder in (*found.ledgers, *named)}.values()]
    _require_known(opened, names, found, stores, folders)
    rebuilder = Rebuilder(
        pool=opened,
        sharers=names,
        dataset=dataset,
        bases=_load_bases(found, opened, request.base) if dataset else {},
        base_source=request.base,
        profiles=request.profiles,
        allow_older=request.allow_older,
        wait=wait,
        listener=listener,
    )
    # From here on the sharers are out; a second call completes a run that is killed below.
    with opened.lock_for_writing(wait=wait):
        opened.remove_sharers(names & set(opened.sharers))
    # A damaged ledger cannot record it, which is no reason to keep what was made of the pieces.
    damaged: list[str] = []
    ledgers = [folder for folder in stores if _record_withdrawal(folder, opened, names, damaged)]
    # Search again: dependents may have been written before the pool changed.
    effects = _rebuild_dependents(rebuilder, find_dependents(folders, opened, names))
    return WithdrawSummary(
        pool=pool,
        sharers=tuple(sorted(names)),
        left=len(opened.sharers),
        searched=folders,
        effects=tuple(effects),
        ledgers=tuple(ledgers),
        unreadable=(*found.unreadable, *damaged),
        mentions=find_mentions(folders, names),
        seconds=time.monotonic() - started,
    )


def preview_withdrawal(
    request: WithdrawRequest,
    dataset: Dataset | None,
    *,
    is_gone: Callable[[Path], bool],
    skip: Callable[[Path, str], bool],
) -> list[RebuildEffect]:
    """Return the effects of withdrawing ``request.sharers``, without changing anything.

    ``dataset`` has the histories to rebuild from. ``is_gone`` says which folders would not be there
    any more, ``skip`` which person's recipe or adapter in a store would have been replaced before.
    Raises the errors of ``withdraw_sharers`` that need no training.
    """
    opened, names = Pool.open(request.pool), frozenset(request.sharers)
    folders = _resolve_search_folders(request.pool, request.within)
    found = find_dependents(folders, opened, names)
    found.exports = [folder for folder in found.exports if not is_gone(folder)]
    found.reports = [path for path in found.reports if not is_gone(path.parent)]
    if dataset is not None and found.recipes:
        require_base_files(request.base or opened.base_source)
    rebuilder = Rebuilder(
        pool=opened,
        sharers=names,
        dataset=dataset,
        base_source=request.base,
        profiles=request.profiles,
        allow_older=request.allow_older,
        is_preview=True,
        skip=skip,
    )
    return _rebuild_dependents(rebuilder, found)


def _resolve_search_folders(pool: Path, within: Sequence[Path]) -> tuple[Path, ...]:
    for folder in within:
        if not folder.is_dir():
            raise MissingError(f"{folder}: no such folder to search")
    return tuple(within) or (pool.absolute().parent,)


def _open_dataset(data: Path | None, pool: Pool) -> Dataset | None:
    """Open the target users' histories. Raises MismatchError if they are for another task."""
    dataset = read_dataset(data) if data else None
    if dataset is not None and dataset.task != pool.task:
        raise MismatchError(
            f"{data}: has histories of task {dataset.task!r}, but {pool.folder} is for "
            f"{pool.task!r}"
        )
    return dataset


def _load_bases(found: Dependents, pool: Pool, source: str | None) -> dict[BaseKind, Base]:
    """Load the base as each store of recipes needs it, before the pool changes, so that a missing
    base has no effect."""
    configs = (from_plain(RecipeConfig, recipes.settings) for recipes in found.recipes)
    # Load each combination of dtype, device and quantization once.
    kinds: set[BaseKind] = {(c.dtype, c.device, c.quantize) for c in configs}
    at = source or pool.base_source
    return {
        (dtype, device, quantize): load_base(at, dtype=dtype, device=device, quantize=quantize)
        for dtype, device, quantize in kinds
    }


def _find_pseudonyms(pool: Pool, store: Path | None, people: Sequence[str]) -> list[str]:
    """Return all pseudonyms that these people of a store have or had in the pool."""
    if store is None:
        if people:
            raise UsageError("people are named by their ids in a store: name that store (--store)")
        return []
    every = PoolLedger(open_ledger(AdapterStore.open(store)), pool).list_all_pseudonyms()
    for person in people:
        if person not in every:
            raise MissingError(f"{store}: {person!r} shared nothing with the pool {pool.folder}")
    return [name for person in people for name in every[person]]


def _require_known(
    pool: Pool,
    names: Collection[str],
    found: Dependents,
    stores: Sequence[Path],
    folders: Sequence[Path],
) -> None:
    """Raise MissingError for a sharer that is unknown to the pool, the ledgers and all dependents.

    A sharer who is already out of the pool is accepted if a killed run left artifacts of theirs.
    """
    known = set(pool.sharers) | {
        name for folder in stores for _, every in _list_pseudonyms(folder, pool) for name in every
    }
    # Known are the sharers in the pool, and those in the ledgers who left it before.
    strangers = sorted(set(names) - known)
    if strangers and not find_dependents(folders, pool, strangers).has_any:
        raise MissingError(
            f"{pool.folder}: no sharer {strangers[0]} in this pool, and nothing below "
            f"{', '.join(map(str, folders))} is made of their pieces"
        )


def _list_pseudonyms(store: Path, pool: Pool) -> list[tuple[str, tuple[str, ...]]]:
    return [*PoolLedger(Ledger(store / "ledger"), pool).list_all_pseudonyms().items()]


def _record_withdrawal(store: Path, pool: Pool, names: Collection[str], damaged: list[str]) -> bool:
    """Record in a store's ledger who withdrew, and delete what sharing left in that store.

    Returns whether it was recorded, which needs a sharer from this store. Adds to ``damaged`` why a
    ledger could not record it.
    """
    # The sharers of this store among those who withdraw, by person.
    withdrawn = {
        person: gone
        for person, every in _list_pseudonyms(store, pool)
        if (gone := [name for name in every if name in names])
    }
    if not withdrawn:
        return False
    pool_ledger = PoolLedger(Ledger(store / "ledger"), pool)
    with hold_lock(store / "share", wait=True, what="sharing from the store"):
        is_recorded = True
        try:
            for person, gone in withdrawn.items():
                pool_ledger.record_withdrew(person, gone)
        except IntegrityError as error:
            damaged.append(str(error))
            is_recorded = False
        # The checkpoint and the leakage report hold data of the sharers, too.
        (store / "share.bin").unlink(missing_ok=True)
        report = store / "leakage" / f"{pool.id}.json"
        if report.is_file():
            content: Mapping[str, list[Mapping[str, str]]] = read_json(report)
            kept = [one for one in content["people"] if one["sharer"] not in names]
            write_json(report, {**content, "people": kept})
    return is_recorded


def _rebuild_dependents(rebuilder: Rebuilder, found: Dependents) -> list[RebuildEffect]:
    """Rebuild or remove all dependents; recipes first, because training starts from them."""
    effects: list[RebuildEffect] = []
    for recipes in found.recipes:
        effects += rebuilder.rebuild_recipes(recipes)
    for store in found.stores:
        effects += rebuilder.rebuild_adapters(store)
    for store in found.checkpoints:
        rebuilder.delete_checkpoint(store)
    is_preview = rebuilder.is_preview
    effects += [delete_export(folder, is_preview=is_preview) for folder in found.exports]
    for path in found.reports:
        # Reports are only deleted; the user creates them again.
        if not is_preview:
            path.unlink(missing_ok=True)
        effects.append(RebuildEffect(where=path, outcome="deleted", why="a report; make it again"))
    return effects
