"""All that was made of somebody's words below some folders: erased, made anew, or taken away.

In an order that a kill can interrupt anywhere: what is known by the numbers of their adapter goes
before that adapter does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.adapters.erasure import (
    CheckpointErasure,
    CopiedAdapterErasure,
    ExportErasure,
    StoreErasure,
)
from idiolect.adapters.store.store import AdapterStore
from idiolect.erasure.inventory import PersonInventory
from idiolect.erasure.readapt_bases import BaseReadapter
from idiolect.erasure.retrain import AdapterRetrainer
from idiolect.errors import IdiolectError
from idiolect.events import Listener, Message, null_listener
from idiolect.history.dataset import Dataset
from idiolect.pieces.erasure import RecipeErasure
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.pieces.withdrawal.remake import RebuildEffect as Remade
from idiolect.pieces.withdrawal.request import WithdrawRequest
from idiolect.pieces.withdrawal.withdraw import withdraw_sharers
from idiolect.privacy.erasure import ErasureEffect, ErasureHandler, Outcome
from idiolect.profiles.erasure import Profiles
from idiolect.training.erasure import AdaptationErasure, PartErasure

WORK_IN_PROGRESS: tuple[ErasureHandler, ...] = (CheckpointErasure(), AdaptationErasure())
"""Work in progress, of whoever."""
_OUTCOMES: Mapping[str, Outcome] = {
    "reassembled": "rebuilt",
    "retrained": "rebuilt",
    "discarded": "discarded",
    "deleted": "deleted",
}


@dataclass(frozen=True, kw_only=True)
class DerivedArtifacts:
    """Sees to what was made of their words."""

    inventory: PersonInventory
    dataset: Dataset
    """The histories as they will be."""
    search_roots: tuple[Path, ...]
    rebuild: bool = True
    base: str | None = None
    profiles: Path | None = None
    handlers: tuple[ErasureHandler, ...] = ()
    """Of floors above."""
    excluded_store: Path | None = None
    """A store in which somebody else sees to the adapter of who leaves."""
    wait: bool = True
    listener: Listener = null_listener

    def erase_all(self) -> list[ErasureEffect]:
        """All of it, once; what became of what."""
        found, dataset, leaving = self.inventory, self.dataset, self.inventory.request
        out = list[ErasureEffect]()
        anew = dataset if self.rebuild else None

        def run_handlers(*holders: ErasureHandler) -> None:
            for folder in found.folders:
                for holder in holders if folder.is_dir() else ():
                    with found.collect_errors():
                        out.extend(holder.erase(folder, leaving))

        run_handlers(*self.handlers, *WORK_IN_PROGRESS, ExportErasure())
        run_handlers(CopiedAdapterErasure())
        readapter = BaseReadapter(
            request=leaving, dataset=anew, profiles=self.profiles, listener=self.listener
        )
        gone, became = readapter.readapt_all([f for f in found.folders if f.is_dir()])
        out += became
        run_handlers(Profiles(dataset, rebuild=self.rebuild))
        out += [e for pool, names in found.pools for e in self._withdraw_pieces(pool, names, anew)]
        retrainer = AdapterRetrainer(
            request=leaving,
            dataset=dataset,
            rebuild=self.rebuild,
            base=self.base,
            profiles=self.profiles,
            start_adapters={sha: at for sha, at in found.exported_adapters.items() if at.is_dir()},
            removed_bases=gone,
            excluded_store=self.excluded_store,
            wait=self.wait,
            listener=self.listener,
        )
        for each, folders in (
            (retrainer.rebuild_recipes, found.recipes),
            (retrainer.retrain_store, found.stores),
        ):
            for folder in folders:
                with found.collect_errors():
                    out.extend(each(folder))
        run_handlers(RecipeErasure(), PartErasure(), StoreErasure())
        return out + _list_refused(found, gone)

    def _withdraw_pieces(
        self, pool: Path, names: Sequence[str], anew: Dataset | None
    ) -> list[ErasureEffect]:
        """Their pieces out of a pool, and what was made of them."""
        opened, person = Pool.open(pool), self.inventory.request.person
        there = len(set(names) & set(opened.sharers))
        data = anew.folder if anew is not None and anew.task == opened.task else None

        def run_withdrawal(data: Path | None) -> Sequence[Remade]:
            request = WithdrawRequest(
                pool=pool,
                sharers=names,
                within=[folder for folder in self.search_roots if folder.is_dir()],
                data=data,
                base=self.base,
                profiles=self.profiles,
                wait=self.wait,
            )
            return withdraw_sharers(request, listener=self.listener).effects

        try:
            became = run_withdrawal(data)
        except IdiolectError as error:
            if data is None:
                raise
            self.listener(Message(text=f"nothing is made anew of {pool}: {error}"))
            became = run_withdrawal(None)
        why = f"made of pieces of {person}"
        pieces = ErasureEffect(what="pieces", where=pool, outcome="removed", person=person)
        return ([pieces] if there else []) + [
            ErasureEffect(
                what="recipe or adapter" if e.person else "export or report",
                where=e.where,
                outcome=_OUTCOMES[e.outcome],
                person=e.person,
                why=f"{why}; {e.why}" if e.why else why,
            )
            for e in became
        ]


def _list_refused(found: PersonInventory, gone: Mapping[str, Path]) -> list[ErasureEffect]:
    """What was made for a base that is another one now, or is no more."""
    out: list[ErasureEffect] = []
    kinds = ((AdapterStore, found.stores), (RecipeStore, found.recipes))
    for kind, folders in kinds:
        for folder in folders:
            store = kind.open(folder)
            if store.base in gone:
                why = f"made for the base in {gone[store.base]}, which is no more what it was"
                out.append(
                    ErasureEffect(what=kind.DISPLAY_NAME, where=folder, outcome="refused", why=why)
                )
    return out
