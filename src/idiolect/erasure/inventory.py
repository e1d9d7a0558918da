"""What there is of somebody below some folders, before anything is touched: what is looked for.

Their rows and words in datasets, their adapters' numbers, the means they are in, their pseudonyms
in pools. Changes nothing but what killed writers left half-written.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from idiolect.adapters.erasure import is_store
from idiolect.adapters.formats.peft import WEIGHTS
from idiolect.adapters.store.signatures import traces_of
from idiolect.adapters.store.store import AdapterStore, Record
from idiolect.config import from_plain
from idiolect.errors import ArtifactError
from idiolect.history.dataset import Dataset
from idiolect.history.erasure import Datasets, is_dataset
from idiolect.history.history import History
from idiolect.history.redact import Redaction
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.pieces.sharing.pool_ledger import Shares
from idiolect.privacy.erasure import Leaving, folders_below
from idiolect.privacy.ledger import Ledger
from idiolect.privacy.patterns import Needles
from idiolect.storage.files import sha256_file
from idiolect.training.runs.plan import PersonalConfig

LEDGER = "ledger"


@dataclass(kw_only=True)
class Belongings:
    """What was found."""

    leaving: Leaving
    folders: tuple[Path, ...] = ()
    """Every folder that was looked into."""
    datasets: list[Redaction] = field(default_factory=list)
    """Datasets with something of theirs, but the one they leave."""
    stores: list[Path] = field(default_factory=list)
    recipes: list[Path] = field(default_factory=list)
    pools: list[tuple[Path, tuple[str, ...]]] = field(default_factory=list)
    """Pools, and the pseudonyms that they had in each."""
    adapters: dict[str, Path] = field(default_factory=dict)
    """Exported adapters by the sha256 of their weights."""
    others: list[Path] = field(default_factory=list)
    """Folders in which the id, a plain number, is of another task and somebody else's."""
    unreadable: list[str] = field(default_factory=list)

    @contextmanager
    def noted(self) -> Generator[None]:
        """What cannot be read is told in the receipt, and holds up nothing else."""
        try:
            yield
        except ArtifactError as error:
            if str(error) not in self.unreadable:
                self.unreadable.append(str(error))


def collect(
    main: Redaction, tops: Sequence[Path], stores: Sequence[Path], datasets: Datasets
) -> Belongings:
    """Look through the folders, and these stores wherever they are."""
    leaving = Leaving(
        person=main.person,
        records=main.records,
        task=main.dataset.task,
        needles=main.unique,
        changed=main.changed,
    )
    out = Belongings(leaving=leaving)
    looked = [*folders_below([*tops, *stores])]
    out.folders = tuple(looked)
    for folder in looked:
        with out.noted():
            _place(folder, main, datasets, out)
    texts, tensors = set(main.unique.texts), set[bytes]()
    changed, files = set(main.changed), set[str]()
    for other in out.datasets:
        texts |= other.unique.texts
        changed |= other.changed
    for folder in _with_parts(out.stores):
        with out.noted():
            tensors |= _tensors(folder, main)
    for folder in out.stores:
        with out.noted():
            files |= _means(folder, main.person)
    out.leaving = replace(
        leaving,
        needles=Needles(frozenset(texts), frozenset(tensors)),
        changed=frozenset(changed),
        files=frozenset(files),
    )
    out.pools = [(pool, names) for pool, _ in out.pools if (names := _names(pool, out))]
    return out


def _place(folder: Path, main: Redaction, datasets: Datasets, out: Belongings) -> None:
    """Take one folder in, if it is something."""
    if folder.resolve() == main.dataset.folder.resolve():
        return
    found = datasets.redaction(folder, out.leaving)
    if found is not None:
        out.datasets += [found] if found.any else []
    elif is_store(folder):
        store = AdapterStore.open(folder)
        (out.stores if out.leaving.is_theirs(store.task) else out.others).append(folder)
    elif (folder / RecipeStore.HEAD).is_file():
        recipes = RecipeStore.open(folder)
        (out.recipes if out.leaving.is_theirs(recipes.task) else out.others).append(folder)
    elif (folder / Pool.HEAD).is_file():
        Pool.open(folder)
        out.pools.append((folder, ()))
    elif (folder / WEIGHTS).is_file():
        out.adapters[sha256_file(folder / WEIGHTS)] = folder
    elif is_dataset(folder):
        out.others.append(folder)


def _with_parts(stores: Sequence[Path]) -> Iterator[Path]:
    for folder in stores:
        yield folder
        yield from sorted(p.parent for p in folder.glob(f"parts/*/{AdapterStore.HEAD}"))


def _tensors(folder: Path, main: Redaction) -> frozenset[bytes]:
    """The numbers of their adapter, if it is one of what goes."""
    store = AdapterStore.open(folder)
    record = store.record(main.person)
    if record is None or record.row is None:
        return frozenset()
    if main.records and main.person in main.dataset:
        kept = main.of(main.dataset.history(main.person))
        if not is_stale(record, kept, last_items(store)):
            return frozenset()
    adapter = store.adapter(main.person)
    return traces_of(adapter) if adapter else frozenset()


def _means(folder: Path, person: str) -> set[str]:
    """sha256 of the means that they are in."""
    entries = Ledger(folder / LEDGER).of(person)
    means = [e for e in entries if e.event == "shared" and e.details.get("scope") == "mean"]
    return {str(entry.details["sha256"]) for entry in means if "sha256" in entry.details}


def _names(pool: Path, found: Belongings) -> tuple[str, ...]:
    """Their pseudonyms in a pool, from every ledger that knows them."""
    opened = Pool.open(pool)
    names: list[str] = []
    for folder in found.stores:
        with found.noted():
            every = Shares(Ledger(folder / LEDGER), opened).every()
            names += every.get(found.leaving.person, ())
    return tuple(dict.fromkeys(names))


def last_items(store: AdapterStore) -> int:
    """How many of everybody's last items a store's settings look at; 0 for all."""
    return from_plain(PersonalConfig, store.settings, where=str(store.folder)).last_items


def is_stale(record: Record, history: History | None, last: int) -> bool:
    """Whether an adapter was trained on something else than the first items of a history.

    One that was imported says nothing of its items; so it is, where there is one.
    """
    if record.row is None and not record.items:
        return False
    if history is None or not record.items:
        return True
    used = history.last(last) if last else history
    first = History(history.person, used.items[: record.items])
    return first.fingerprint() != record.history


def in_dataset(dataset: Dataset, people: Collection[str]) -> dict[str, History | None]:
    """The histories of some people, ``None`` for who has none there."""
    return {
        person: dataset.history(person) if person in dataset else None for person in sorted(people)
    }
