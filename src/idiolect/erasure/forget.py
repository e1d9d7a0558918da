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
from typing import Any

from idiolect.adapters.erasure import Copies, Exports, Stores
from idiolect.adapters.store.artifact import BoundFolder
from idiolect.adapters.store.store import AdapterStore
from idiolect.erasure.derived import WORK, Derived
from idiolect.erasure.inventory import LEDGER, Belongings, collect
from idiolect.erasure.receipt import Receipt
from idiolect.errors import MissingError
from idiolect.events import Listener, silent
from idiolect.history.dataset import Dataset, read_dataset
from idiolect.history.erasure import Datasets, effects, rewrite
from idiolect.history.redact import Redaction
from idiolect.models.erasure import Bases
from idiolect.pieces.erasure import Recipes
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.privacy.erasure import Effect, Holder
from idiolect.privacy.ledger import Ledger
from idiolect.privacy.scan import Hit, scan_tree
from idiolect.profiles.erasure import Profiles
from idiolect.storage.files import lock, staged_folder
from idiolect.tasks.registry import get_task
from idiolect.training.erasure import Parts

FORGOTTEN, RECORDS_FORGOTTEN = "forgotten", "records forgotten"
"""What the ledger says of it, under a pseudonym."""
_KINDS: tuple[Holder, ...] = (Copies(), Exports(), Recipes(), Parts(), Stores())


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
    def _whole(self) -> bool:
        """Whether it is the person who goes, and not something of theirs alone."""
        return not self.records

    @property
    def _theirs(self) -> tuple[Path, ...]:
        """Files of the caller that verification passes by."""
        return ()

    @property
    def _spared(self) -> Path | None:
        """See ``Derived.spared``."""
        return None

    @property
    def _event(self) -> tuple[str, Mapping[str, Any]]:
        """What the ledger is told, under their pseudonym."""
        told = {} if self._whole else {"records": len(self.records)}
        return (FORGOTTEN if self._whole else RECORDS_FORGOTTEN), told

    @property
    def _datasets(self) -> Datasets:
        return Datasets(get_task, keep_joint=self.config.keep_joint)

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
                        f"said: idiolect forget {self.data} {self.adapters} --person "
                        f"{self.person} --gone PAIRS"
                    )
        return Redaction(
            dataset,
            self.person,
            get_task(dataset.task),
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
        """All that was made of their words."""
        return Derived(
            found=found,
            dataset=dataset,
            tops=self.tops,
            rebuild=self.config.rebuild,
            base=self.base,
            profiles=self.profiles,
            holders=self.holders,
            spared=self._spared,
            wait=self.wait,
            listener=self.listener,
        ).erase()

    def _tell(self, folder: Path, found: Belongings) -> list[Effect]:
        """Tell a store's ledger; of a whole person the way to their pseudonym goes after that, also
        where the ledger was edited and takes no more events."""
        ledger = Ledger(folder / LEDGER)
        with found.noted():
            if ledger.of(self.person):
                event, details = self._event
                ledger.record(event, [self.person], details)
        if not self._whole or not ledger.forget(self.person):
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
        kinds = (*self.holders, *_KINDS, Bases(), Profiles(main.dataset), *WORK)
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
        whose = self.person if self._whole else ""
        tops = [folder for folder in self.tops if folder.is_dir()]
        return scan_tree(
            tops,
            whose,
            found.leaving.needles,
            readers=readers,
            others=found.others,
            spared=self._theirs,
        )

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
