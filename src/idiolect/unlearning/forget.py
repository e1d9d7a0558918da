"""Somebody is forgotten, or some of their records: everywhere below some folders, in one order.

The dataset that they leave is rewritten last and in one step: until then it says whose and what
goes, so that after a kill at any moment the same call finds all that is left and finishes. What
others have that followed from their words is made anew from what is left of the histories, or taken
away, or refused; nobody else's numbers change. Whatever holds personal data is asked as a
``Holder``; those of floors above are passed in.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from idiolect import tasks
from idiolect.adapters.bound import BoundFolder
from idiolect.adapters.holder import Copies, Exports, Progress, Stores
from idiolect.adapters.store import AdapterStore
from idiolect.errors import IdiolectError, MissingError
from idiolect.events import Listener, Note, silent
from idiolect.history import Dataset, read_dataset
from idiolect.history.holder import Datasets, effects, rewrite
from idiolect.history.redact import Redaction
from idiolect.models.holder import Bases
from idiolect.pieces.holder import Recipes
from idiolect.pieces.pool import Pool
from idiolect.pieces.recipe_store import RecipeStore
from idiolect.pieces.remake import Effect as Remade
from idiolect.pieces.withdraw import withdraw
from idiolect.profiles.holder import Profiles
from idiolect.storage import Effect, Hit, Holder, Ledger, Outcome, lock, scan_tree, staged_folder
from idiolect.training.holder import Adaptations, Parts
from idiolect.unlearning.belongings import LEDGER, Belongings, collect
from idiolect.unlearning.readapt import Readapter
from idiolect.unlearning.receipt import Receipt
from idiolect.unlearning.retrain import Retrainer

FORGOTTEN, RECORDS_FORGOTTEN = "forgotten", "records forgotten"
"""What the ledger says of it, under a pseudonym."""
_KINDS: tuple[Holder, ...] = (Copies(), Exports(), Recipes(), Parts(), Stores())
_WORK: tuple[Holder, ...] = (Progress(), Adaptations())
_BECAME: Mapping[str, Outcome] = {
    "assembled anew": "made anew",
    "trained anew": "made anew",
    "taken away": "taken away",
    "deleted": "deleted",
}


@dataclass(frozen=True, kw_only=True)
class ForgetConfig:
    """How somebody is forgotten."""

    rebuild: bool = True
    """Whether what others have that followed from their words is made anew where it can be; else it
    is taken away."""
    keep_joint: bool = False
    """Whether records that are others' as well (a co-authored paper) stay in these others'
    histories."""


@dataclass(frozen=True, kw_only=True)
class Forgetting:
    """One call of ``forget``."""

    data: Path
    adapters: Path
    person: str
    records: tuple[str, ...] = ()
    within: tuple[Path, ...] = ()
    config: ForgetConfig = field(default_factory=ForgetConfig)
    base: str | None = None
    profiles: Path | None = None
    holders: tuple[Holder, ...] = ()
    """Of floors above."""
    wait: bool = True
    listener: Listener = silent

    @property
    def tops(self) -> tuple[Path, ...]:
        """Where things are looked for: the folders named, else those that data and adapters are
        in; and these two. One within another is looked through once."""
        beside = (self.data.absolute().parent, self.adapters.absolute().parent)
        wanted = (*(self.within or beside), self.data, self.adapters)
        tops = {folder.resolve(): folder for folder in reversed(wanted)}
        return tuple(
            tops[place]
            for place in sorted(tops)
            if not any(place != other and place.is_relative_to(other) for other in tops)
        )

    def run(self, *, verify: bool = False, dry_run: bool = False) -> Receipt:
        """Do it, or say what would be done; see ``api.forget``."""
        started = time.monotonic()
        for folder in self.within:
            if not folder.is_dir():
                raise MissingError(f"{folder}: no folder there to look in")
        _require_adapters(self.adapters)
        with lock(self.data, wait=self.wait, what="the dataset"):
            main = self._main()
            found = collect(main, self.tops, [self.adapters], self._datasets)
            known = self._known(main, found)
            if not known and not verify:
                raise MissingError(self._nothing(main))
            doing = self._would if dry_run else self._done
            done = doing(main, found) if known else []
        left = self._scan(found) if verify and not dry_run else ()
        return Receipt(
            person=self.person,
            records=self.records,
            searched=self.tops,
            effects=tuple(done),
            unreadable=tuple(found.unreadable),
            done=not dry_run,
            verified=verify and not dry_run,
            left=left,
            seconds=time.monotonic() - started,
        )

    @property
    def _datasets(self) -> Datasets:
        return Datasets(tasks.get, keep_joint=self.config.keep_joint)

    def _main(self) -> Redaction:
        """What goes of the dataset; raises MissingError for a record that is not in it."""
        dataset = read_dataset(self.data)
        if self.records:
            history = dataset.history(self.person)
            there = {i.id for i in (*history.items, *history.queries)}
            for record in self.records:
                if record not in there:
                    raise MissingError(
                        f"{self.data}: {self.person!r} has no record {record!r}; it was never "
                        "there, or is forgotten already; where an adapter still knows what it "
                        f"said: idiolect unlearn {self.adapters} --person {self.person} --forget "
                        "PAIRS"
                    )
        return Redaction(
            dataset,
            self.person,
            tasks.get(dataset.task),
            records=self.records,
            keep_joint=self.config.keep_joint,
        )

    def _done(self, main: Redaction, found: Belongings) -> list[Effect]:
        """Everything, in the order in which a kill is finished by another run."""
        out: list[Effect] = []
        with self._staged(main) as dataset:
            place = str(dataset.folder)  # where the histories are meanwhile is no use to anybody
            out += [
                replace(effect, why=effect.why.replace(place, str(self.data)))
                for effect in self._derived(found, dataset)
            ]
            for other in found.datasets:
                rewrite(other, other.dataset.folder)
                out += effects(other, other.dataset.folder)
            out += [e for folder in found.stores for e in self._tell(folder, found)]
            if main.any:
                out += effects(main, self.data)
        return out

    @contextmanager
    def _staged(self, main: Redaction) -> Generator[Dataset]:
        """The dataset as it will be; it takes its place when the block has ended well."""
        if not main.any:
            yield main.dataset
            return
        with staged_folder(self.data, replace=True) as stage:
            yield rewrite(main, stage)

    def _derived(self, found: Belongings, dataset: Dataset) -> list[Effect]:
        """All that was made of their words. Copies go before what they are known by: the numbers of
        the adapter that they were made of."""
        leaving, out = found.leaving, list[Effect]()
        anew = dataset if self.config.rebuild else None

        def ask(*holders: Holder) -> None:
            for folder in found.folders:
                for holder in holders if folder.is_dir() else ():
                    with found.noted():
                        out.extend(holder.erase(folder, leaving))

        ask(*self.holders, *_WORK, Exports())
        ask(Copies())
        readapter = Readapter(
            leaving=leaving, dataset=anew, profiles=self.profiles, listener=self.listener
        )
        gone, became = readapter.bases([f for f in found.folders if f.is_dir()])
        out += became
        ask(Profiles(dataset, rebuild=self.config.rebuild))
        out += [e for pool, names in found.pools for e in self._withdrawn(pool, names, anew)]
        retrainer = Retrainer(
            leaving=leaving,
            dataset=dataset,
            rebuild=self.config.rebuild,
            base=self.base,
            profiles=self.profiles,
            starts={sha: at for sha, at in found.adapters.items() if at.is_dir()},
            gone=gone,
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
        opened = Pool.open(pool)
        there = len(set(names) & set(opened.sharers))
        data = anew.folder if anew is not None and anew.task == opened.task else None

        def go(data: Path | None) -> Sequence[Remade]:
            return withdraw(
                pool,
                sharers=names,
                within=[folder for folder in self.tops if folder.is_dir()],
                data=data,
                base=self.base,
                profiles=self.profiles,
                wait=self.wait,
                listener=self.listener,
            ).effects

        try:
            became = go(data)
        except IdiolectError as error:
            if data is None:
                raise
            self.listener(Note(text=f"nothing is made anew of {pool}: {error}"))
            became = go(None)
        why = f"made of pieces of {self.person}"
        pieces = Effect(what="pieces", where=pool, outcome="removed", person=self.person)
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

    def _tell(self, folder: Path, found: Belongings) -> list[Effect]:
        """Tell a store's ledger; of a whole person the way to their pseudonym goes after that, also
        where the ledger was edited and takes no more events."""
        ledger = Ledger(folder / LEDGER)
        with found.noted():
            if ledger.of(self.person) and self.records:
                ledger.record(RECORDS_FORGOTTEN, [self.person], {"records": len(self.records)})
            elif ledger.of(self.person):
                ledger.record(FORGOTTEN, [self.person])
        if self.records or not ledger.forget(self.person):
            return []
        return [Effect(what="pseudonym", where=folder, outcome="destroyed", person=self.person)]

    def _known(self, main: Redaction, found: Belongings) -> bool:
        """Whether there is anything of theirs; work in progress, of whoever, does not count."""
        if main.any or found.datasets or found.pools or found.leaving.needles.tensors:
            return True
        for folder in found.stores:
            with found.noted():
                if Ledger(folder / LEDGER).of(self.person):
                    return True
        kinds = (*self.holders, *_KINDS, Bases(), Profiles(main.dataset))
        return bool(self._found(found, kinds))

    def _would(self, main: Redaction, found: Belongings) -> list[Effect]:
        """What there is, as if it had been done; what becomes of others' things is not tried."""
        out = effects(main, self.data) if main.any else []
        out += [e for other in found.datasets for e in effects(other, other.dataset.folder)]
        out += [
            Effect(what="pieces", where=pool, outcome="removed", person=self.person)
            for pool, _ in found.pools
        ]
        kinds = (*self.holders, *_KINDS, Bases(), Profiles(main.dataset), *_WORK)
        return out + self._found(found, kinds)

    def _found(self, found: Belongings, holders: Sequence[Holder]) -> list[Effect]:
        out: list[Effect] = []
        for folder in found.folders:
            for holder in holders:
                with found.noted():
                    if what := holder.find(folder, found.leaving):
                        out.append(Effect(what=what, where=folder, outcome="removed"))
        return out

    def _scan(self, found: Belongings) -> tuple[Hit, ...]:
        readers = [self._datasets.scan, *(h.scan for h in self.holders)]
        whose = "" if self.records else self.person
        tops = [folder for folder in self.tops if folder.is_dir()]
        return scan_tree(tops, whose, found.leaving.needles, readers=readers, others=found.others)

    def _nothing(self, main: Redaction) -> str:
        people = main.dataset.people
        example = f"; {self.data} has {len(people)} people, e.g. {people[0]!r}" if people else ""
        return (
            f"nothing of {self.person!r} is in {', '.join(map(str, self.tops))}: never there, or "
            f"forgotten already (--verify looks through every byte){example}"
        )


def _require_adapters(folder: Path) -> None:
    """Raise MissingError where no adapters or recipes are."""
    kinds: tuple[type[BoundFolder], ...] = (AdapterStore, RecipeStore)
    if not any((folder / kind.HEAD).is_file() for kind in kinds):
        raise MissingError(f"{folder}: no adapter store there, and no recipes; name the folder")


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
