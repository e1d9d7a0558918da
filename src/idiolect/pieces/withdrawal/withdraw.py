"""A sharer leaves a pool: their pieces vanish, and all that was made of them, where it is found.

The pieces go first: from then on nothing made of them is given out where the pool is at hand. What
was made of them follows, folder by folder. A kill at any moment is finished by the same call. The
ledger of the sharer's own store alone still knows the pseudonym: it is append-only, a withdrawal by
name must find what a kill left, and it stands beside that person's whole adapter in any case. It is
gone with the person's entry there (``Ledger.forget``).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.adapters.store.consent import open_ledger
from idiolect.adapters.store.store import AdapterStore
from idiolect.config import from_plain
from idiolect.errors import MismatchError, MissingError, UsageError
from idiolect.events import Listener, null_listener
from idiolect.history.dataset import Dataset, read_dataset
from idiolect.models.base import Base, load_base
from idiolect.models.device import DtypeName
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import RecipeConfig
from idiolect.pieces.sharing.pool_ledger import PoolLedger
from idiolect.pieces.withdrawal.dependents import Dependents, find_dependents, find_mentions
from idiolect.pieces.withdrawal.remake import RebuildEffect, Rebuilder, delete_export
from idiolect.pieces.withdrawal.request import WithdrawRequest
from idiolect.privacy.ledger import Ledger
from idiolect.storage.files import hold_lock, read_json, write_json


@dataclass(frozen=True, kw_only=True)
class WithdrawSummary:
    """What a run did."""

    pool: Path
    sharers: tuple[str, ...]
    """Whose pieces are out of the pool, under their pseudonyms."""
    left: int
    """Everybody who is still in it."""
    searched: tuple[Path, ...]
    """The folders in which things made of the pieces were looked for."""
    effects: tuple[RebuildEffect, ...]
    ledgers: tuple[Path, ...]
    """Stores whose ledger says who withdrew."""
    unreadable: tuple[str, ...]
    """What could not be looked into, and why."""
    mentions: tuple[Path, ...]
    """Texts that still name one of the sharers; they are nobody's we know."""
    seconds: float


def withdraw_sharers(
    request: WithdrawRequest, *, listener: Listener = null_listener
) -> WithdrawSummary:
    """See ``api.withdraw``."""
    started = time.monotonic()
    pool, store, wait = request.pool, request.store, request.wait
    opened = Pool.open(pool)
    folders = _resolve_search_folders(pool, request.within)
    names = frozenset((*request.sharers, *_find_pseudonyms(opened, store, request.people)))
    if not names:
        raise UsageError("name who withdraws: --sharer, or --store with --person")
    dataset = _open_dataset(request.data, opened)
    found = find_dependents(folders, opened, names)
    named = [store] if store else []
    stores = [*{folder.resolve(): folder for folder in (*found.ledgers, *named)}.values()]
    _require_known(opened, names, found, stores, folders)
    remaker = Rebuilder(
        pool=opened,
        sharers=names,
        dataset=dataset,
        bases=_load_bases(found, opened, request.base) if dataset else {},
        base_source=request.base,
        profiles=request.profiles,
        wait=wait,
        listener=listener,
    )
    with opened.lock_for_writing(wait=wait):
        opened.remove_sharers(names & set(opened.sharers))
    ledgers = [folder for folder in stores if _record_withdrawal(folder, opened, names)]
    effects = _rebuild_dependents(remaker, find_dependents(folders, opened, names))
    return WithdrawSummary(
        pool=pool,
        sharers=tuple(sorted(names)),
        left=len(opened.sharers),
        searched=folders,
        effects=tuple(effects),
        ledgers=tuple(ledgers),
        unreadable=tuple(found.unreadable),
        mentions=find_mentions(folders, names),
        seconds=time.monotonic() - started,
    )


def _resolve_search_folders(pool: Path, within: Sequence[Path]) -> tuple[Path, ...]:
    for folder in within:
        if not folder.is_dir():
            raise MissingError(f"{folder}: no folder there to look in")
    return tuple(within) or (pool.absolute().parent,)


def _open_dataset(data: Path | None, pool: Pool) -> Dataset | None:
    """The newcomers' histories, if they are for the pool's task."""
    dataset = read_dataset(data) if data else None
    if dataset is not None and dataset.task != pool.task:
        raise MismatchError(
            f"{data}: holds histories of task {dataset.task!r}, {pool.folder} is for {pool.task!r}"
        )
    return dataset


def _load_bases(
    found: Dependents, pool: Pool, source: str | None
) -> dict[tuple[DtypeName, str], Base]:
    """The base as each store of recipes wants it: where it is not there, nothing has happened."""
    configs = (from_plain(RecipeConfig, recipes.settings) for recipes in found.recipes)
    kinds: set[tuple[DtypeName, str]] = {(config.dtype, config.device) for config in configs}
    at = source or pool.base_source
    return {kind: load_base(at, dtype=kind[0], device=kind[1]) for kind in kinds}


def _find_pseudonyms(pool: Pool, store: Path | None, people: Sequence[str]) -> list[str]:
    """The pseudonyms that people of a store have or had in the pool."""
    if store is None:
        if people:
            raise UsageError("a person is one of a store's: name that store (--store)")
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
    """Raise MissingError for a sharer whom nothing knows; who is out already may have left traces
    that a killed run did not come to."""
    known = set(pool.sharers) | {
        name for folder in stores for _, every in _list_pseudonyms(folder, pool) for name in every
    }
    strangers = sorted(set(names) - known)
    if strangers and not find_dependents(folders, pool, strangers).has_any:
        raise MissingError(
            f"{pool.folder}: there is no sharer {strangers[0]} in this pool, and nothing below "
            f"{', '.join(map(str, folders))} is made of their pieces"
        )


def _list_pseudonyms(store: Path, pool: Pool) -> list[tuple[str, tuple[str, ...]]]:
    return [*PoolLedger(Ledger(store / "ledger"), pool).list_all_pseudonyms().items()]


def _record_withdrawal(store: Path, pool: Pool, names: Collection[str]) -> bool:
    """Tell a store's ledger who of its people withdrew, and remove what sharing left beside it."""
    ours = {
        person: gone
        for person, every in _list_pseudonyms(store, pool)
        if (gone := [name for name in every if name in names])
    }
    if not ours:
        return False
    shares = PoolLedger(Ledger(store / "ledger"), pool)
    with hold_lock(store / "share", wait=True, what="sharing from the store"):
        for person, gone in ours.items():
            shares.record_withdrew(person, gone)
        (store / "share.bin").unlink(missing_ok=True)
        report = store / "leakage" / f"{pool.id}.json"
        if report.is_file():
            content: Mapping[str, list[Mapping[str, str]]] = read_json(report)
            kept = [one for one in content["people"] if one["sharer"] not in names]
            write_json(report, {**content, "people": kept})
    return True


def _rebuild_dependents(remaker: Rebuilder, found: Dependents) -> list[RebuildEffect]:
    """Make anew or take away all that was found: recipes first, since training starts from them."""
    effects: list[RebuildEffect] = []
    for recipes in found.recipes:
        effects += remaker.rebuild_recipes(recipes)
    for store in found.stores:
        effects += remaker.rebuild_adapters(store)
    for store in found.checkpoints:
        remaker.delete_checkpoint(store)
    effects += [delete_export(folder) for folder in found.exports]
    for path in found.reports:
        path.unlink(missing_ok=True)
        effects.append(RebuildEffect(where=path, outcome="deleted", why="a report; make it anew"))
    return effects
