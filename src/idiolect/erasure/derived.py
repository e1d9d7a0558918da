"""All that was made of somebody's words below some folders: erased, made anew, or taken away.

In an order that a kill can interrupt anywhere: what is known by the numbers of their adapter goes
before that adapter does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from idiolect.adapters.erasure import Copies, Exports, Progress, Stores
from idiolect.adapters.store.store import AdapterStore
from idiolect.erasure.inventory import Belongings
from idiolect.erasure.readapt_bases import Readapter
from idiolect.erasure.retrain import Retrainer
from idiolect.errors import IdiolectError
from idiolect.events import Listener, Note, silent
from idiolect.history.dataset import Dataset
from idiolect.pieces.erasure import Recipes
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.pieces.withdrawal.remake import Effect as Remade
from idiolect.pieces.withdrawal.request import WithdrawRequest
from idiolect.pieces.withdrawal.withdraw import withdraw
from idiolect.privacy.erasure import Effect, Holder, Outcome
from idiolect.profiles.erasure import Profiles
from idiolect.training.erasure import Adaptations, Parts

WORK: tuple[Holder, ...] = (Progress(), Adaptations())
"""Work in progress, of whoever."""
_BECAME: Mapping[str, Outcome] = {
    "assembled anew": "made anew",
    "trained anew": "made anew",
    "taken away": "taken away",
    "deleted": "deleted",
}


@dataclass(frozen=True, kw_only=True)
class Derived:
    """Sees to what was made of their words."""

    found: Belongings
    dataset: Dataset
    """The histories as they will be."""
    tops: tuple[Path, ...]
    rebuild: bool = True
    base: str | None = None
    profiles: Path | None = None
    holders: tuple[Holder, ...] = ()
    """Of floors above."""
    spared: Path | None = None
    """A store in which somebody else sees to the adapter of who leaves."""
    wait: bool = True
    listener: Listener = silent

    def erase(self) -> list[Effect]:
        """All of it, once; what became of what."""
        found, dataset, leaving = self.found, self.dataset, self.found.leaving
        out = list[Effect]()
        anew = dataset if self.rebuild else None

        def ask(*holders: Holder) -> None:
            for folder in found.folders:
                for holder in holders if folder.is_dir() else ():
                    with found.noted():
                        out.extend(holder.erase(folder, leaving))

        ask(*self.holders, *WORK, Exports())
        ask(Copies())
        readapter = Readapter(
            leaving=leaving, dataset=anew, profiles=self.profiles, listener=self.listener
        )
        gone, became = readapter.bases([f for f in found.folders if f.is_dir()])
        out += became
        ask(Profiles(dataset, rebuild=self.rebuild))
        out += [e for pool, names in found.pools for e in self._withdrawn(pool, names, anew)]
        retrainer = Retrainer(
            leaving=leaving,
            dataset=dataset,
            rebuild=self.rebuild,
            base=self.base,
            profiles=self.profiles,
            starts={sha: at for sha, at in found.adapters.items() if at.is_dir()},
            gone=gone,
            spared=self.spared,
            wait=self.wait,
            listener=self.listener,
        )
        for each, folders in (
            (retrainer.recipes, found.recipes),
            (retrainer.adapters, found.stores),
        ):
            for folder in folders:
                with found.noted():
                    out.extend(each(folder))
        ask(Recipes(), Parts(), Stores())
        return out + _refused(found, gone)

    def _withdrawn(self, pool: Path, names: Sequence[str], anew: Dataset | None) -> list[Effect]:
        """Their pieces out of a pool, and what was made of them."""
        opened, person = Pool.open(pool), self.found.leaving.person
        there = len(set(names) & set(opened.sharers))
        data = anew.folder if anew is not None and anew.task == opened.task else None

        def go(data: Path | None) -> Sequence[Remade]:
            request = WithdrawRequest(
                pool=pool,
                sharers=names,
                within=[folder for folder in self.tops if folder.is_dir()],
                data=data,
                base=self.base,
                profiles=self.profiles,
                wait=self.wait,
            )
            return withdraw(request, listener=self.listener).effects

        try:
            became = go(data)
        except IdiolectError as error:
            if data is None:
                raise
            self.listener(Note(text=f"nothing is made anew of {pool}: {error}"))
            became = go(None)
        why = f"made of pieces of {person}"
        pieces = Effect(what="pieces", where=pool, outcome="removed", person=person)
        return ([pieces] if there else []) + [
            Effect(
                what="recipe or adapter" if e.person else "export or report",
                where=e.where,
                outcome=_BECAME[e.outcome],
                person=e.person,
                why=f"{why}; {e.why}" if e.why else why,
            )
            for e in became
        ]


def _refused(found: Belongings, gone: Mapping[str, Path]) -> list[Effect]:
    """What was made for a base that is another one now, or is no more."""
    out: list[Effect] = []
    kinds = ((AdapterStore, found.stores), (RecipeStore, found.recipes))
    for kind, folders in kinds:
        for folder in folders:
            store = kind.open(folder)
            if store.base in gone:
                why = f"made for the base in {gone[store.base]}, which is no more what it was"
                out.append(Effect(what=kind.WHAT, where=folder, outcome="refused", why=why))
    return out
