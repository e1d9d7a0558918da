"""Erases, rebuilds, or discards everything below some folders that was derived from a person's
words.

The order makes every step repeatable after a crash: what is found by the signatures of the person's
adapter is erased before that adapter is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
from idiolect.erasure.run_state import RunState
from idiolect.errors import IdiolectError
from idiolect.events import Listener, Message, null_listener
from idiolect.history.dataset import Dataset
from idiolect.pieces.erasure import RecipeErasure
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.pieces.withdrawal.remake import RebuildEffect as Remade
from idiolect.pieces.withdrawal.request import WithdrawRequest
from idiolect.pieces.withdrawal.withdraw import preview_withdrawal, withdraw_sharers
from idiolect.privacy.erasure import ErasureEffect, ErasureHandler, Outcome
from idiolect.profiles.erasure import Profiles
from idiolect.training.erasure import AdaptationErasure, PartErasure

WORK_IN_PROGRESS: tuple[ErasureHandler, ...] = (CheckpointErasure(), AdaptationErasure())
"""Handlers of unfinished work (checkpoints, partial adaptations). They erase it for all people."""
_OUTCOMES: Mapping[str, Outcome] = {
    "reassembled": "rebuilt",
    "retrained": "rebuilt",
    "discarded": "discarded",
    "deleted": "deleted",
}


@dataclass(frozen=True, kw_only=True)
class DerivedArtifacts:
    """Erases what was derived from a person's words, once, for one request."""

    inventory: PersonInventory
    dataset: Dataset
    """The histories after the redaction."""
    search_roots: tuple[Path, ...]
    rebuild: bool = True
    base: str | None = None
    profiles: Path | None = None
    handlers: tuple[ErasureHandler, ...] = ()
    """Additional handlers, from packages above this one."""
    excluded_store: Path | None = None
    """A store in which the caller replaces the person's adapter itself."""
    state: RunState = field(default_factory=RunState)
    """Whether this is a dry run, and what its steps would have done."""
    wait: bool = True
    listener: Listener = null_listener

    def erase_all(self) -> list[ErasureEffect]:
        """Erase everything, and return what happened to each artifact.

        Every step plans first and then does what it planned. A dry run does the same steps, and
        only plans: so both return the same effects.
        """
        found, dataset, leaving = self.inventory, self.dataset, self.inventory.request
        out = list[ErasureEffect]()
        state, rebuild_data = self.state, dataset if self.rebuild else None

        def add_effects(effects: Sequence[ErasureEffect]) -> None:
            out.extend(effects)
            state.note_effects(effects)

        def run_handlers(*handlers: ErasureHandler) -> None:
            for folder in found.folders:
                for handler in handlers:
                    # An earlier handler may have deleted the folder.
                    if state.is_gone(folder):
                        break
                    act = handler.preview if state.is_dry_run else handler.erase
                    with found.collect_errors():
                        add_effects(act(folder, leaving))

        # Copies first: they are found by the signatures of adapters that still exist.
        run_handlers(*self.handlers, *WORK_IN_PROGRESS, ExportErasure())
        run_handlers(CopiedAdapterErasure())
        # Bases come before everything that was trained on them.
        readapter = BaseReadapter(
            request=leaving,
            dataset=rebuild_data,
            profiles=self.profiles,
            original=found.main.dataset,
            is_dry_run=state.is_dry_run,
            listener=self.listener,
        )
        removed_bases, effects = readapter.readapt_all(
            [folder for folder in found.folders if not state.is_gone(folder)]
        )
        # Not noted as a change: the folder of a base that was removed keeps its manifest.
        out += effects
        # Profiles and pieces are needed for rebuilding recipes and adapters, so they come before.
        run_handlers(Profiles(dataset, rebuild=self.rebuild))
        for pool, names in found.pools:
            add_effects(self._withdraw_pieces(pool, names, rebuild_data, removed_bases))
            state.withdrawn_sharers |= {*names}
        # Other people's adapters and recipes that their words went into are rebuilt; recipes first,
        # because adapters can start from them.
        retrainer = AdapterRetrainer(
            request=leaving,
            dataset=dataset,
            origins=found.origins,
            rebuild=self.rebuild,
            base=self.base,
            profiles=self.profiles,
            start_adapters={
                sha: at for sha, at in found.exported_adapters.items() if not state.is_gone(at)
            },
            removed_bases=removed_bases,
            excluded_store=self.excluded_store,
            state=state,
            wait=self.wait,
            listener=self.listener,
        )
        for rebuild, folders in (
            (retrainer.rebuild_recipes, found.recipes),
            (retrainer.retrain_store, found.stores),
        ):
            for folder in folders:
                with found.collect_errors():
                    add_effects(rebuild(folder))
        # The person's own adapters go last, because copies are found by their signatures.
        run_handlers(RecipeErasure(), PartErasure(), StoreErasure())
        return out + _list_refused(found, removed_bases)

    def _withdraw_pieces(
        self,
        pool: Path,
        names: Sequence[str],
        rebuild_data: Dataset | None,
        removed_bases: Mapping[str, Path],
    ) -> list[ErasureEffect]:
        """Withdraw the person's pieces from a pool, and rebuild or erase what was made from
        them."""
        opened, person = Pool.open(pool), self.inventory.request.person
        owners = {self.inventory.owners[n] for n in set(names) & set(opened.sharers)}
        # Nothing can be rebuilt from a pool whose base has changed.
        no_data = "the base it was made for has changed" if opened.base in removed_bases else ""
        data = None
        if not no_data and rebuild_data is not None and rebuild_data.task == opened.task:
            data = rebuild_data

        def run_withdrawal(data: Dataset | None) -> Sequence[Remade]:
            request = WithdrawRequest(
                pool=pool,
                sharers=names,
                within=[folder for folder in self.search_roots if folder.is_dir()],
                data=data.folder if data else None,
                base=self.base,
                profiles=self.profiles,
                allow_older=True,
                wait=self.wait,
            )
            if self.state.is_dry_run:
                return preview_withdrawal(
                    request, data, is_gone=self.state.is_gone, skip=self.state.is_replaced
                )
            return withdraw_sharers(request, listener=self.listener).effects

        try:
            changed = run_withdrawal(data)
        except IdiolectError as error:
            if data is None:
                raise
            # If a rebuild is impossible, withdraw the pieces anyway, without rebuilding.
            self.listener(Message(text=f"nothing is rebuilt from {pool}: {error}"))
            changed = run_withdrawal(None)
        self.state.note_dropped(e.where for e in changed if e.person == person)
        why = f"made of pieces of {person}"
        pieces = [make_pieces_effect(pool, owner, person) for owner in sorted(owners)]
        return pieces + [
            ErasureEffect(
                what="recipe or adapter" if e.person else "export or report",
                where=e.where,
                outcome=_OUTCOMES[e.outcome],
                person=e.person,
                why=f"{why}; {no_data or e.why}" if e.why else why,
            )
            for e in changed
        ]


def make_pieces_effect(pool: Path, owner: str, person: str) -> ErasureEffect:
    """Return the receipt's entry for the pieces of ``owner``; ``person`` is being forgotten."""
    if owner == person:
        return ErasureEffect(what="pieces", where=pool, outcome="removed", person=owner)
    why = f"made of words of {person}; share them again (idiolect share)"
    return ErasureEffect(what="pieces", where=pool, outcome="discarded", person=owner, why=why)


def _list_refused(found: PersonInventory, removed_bases: Mapping[str, Path]) -> list[ErasureEffect]:
    """List artifacts made for a base that changed or was deleted. They stay, and using them is an
    error."""
    out: list[ErasureEffect] = []
    # Stores with a rebuilt base keep their files: loading them reports the mismatch.
    kinds = ((AdapterStore, found.stores), (RecipeStore, found.recipes))
    for kind, folders in kinds:
        for folder in folders:
            store = kind.open(folder)
            if store.base in removed_bases:
                why = f"made for the base in {removed_bases[store.base]}, which has changed"
                out.append(
                    ErasureEffect(what=kind.DISPLAY_NAME, where=folder, outcome="refused", why=why)
                )
    return out
