"""Finds everything of a person below some folders, before anything is changed.

Collects rows and words in datasets, signatures of the person's adapters, means that include them,
and the person's pseudonyms in pools. Modifies nothing, except that it cleans up after crashed
writers.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from idiolect.adapters.erasure import is_store
from idiolect.adapters.formats.peft import WEIGHTS_FILE
from idiolect.adapters.store.artifact import BaseBoundArtifact
from idiolect.adapters.store.signatures import byte_signatures
from idiolect.adapters.store.store import AdapterStore
from idiolect.erasure.origins import HistoryOrigins
from idiolect.errors import ArtifactError, MissingError
from idiolect.history.dataset import Dataset
from idiolect.history.erasure import DatasetErasure, is_dataset
from idiolect.history.redact import Redaction
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.pieces.sharing.pool_ledger import PoolLedger
from idiolect.privacy.erasure import ErasureHandler, ErasureRequest, walk_folders
from idiolect.privacy.ledger import Ledger
from idiolect.privacy.search.patterns import SearchPatterns
from idiolect.storage.files import sha256_file
from idiolect.storage.tree import find_outside_targets, require_no_outside_links

LEDGER_FOLDER = "ledger"


@dataclass(kw_only=True)
class PersonInventory:
    """What was found."""

    request: ErasureRequest
    main: Redaction
    """The dataset that the person or records are erased from."""
    folders: tuple[Path, ...] = ()
    """All folders that were looked into."""
    datasets: list[Redaction] = field(default_factory=list)
    """Datasets that contain something of the person, without the main dataset."""
    stores: list[Path] = field(default_factory=list)
    recipes: list[Path] = field(default_factory=list)
    pools: list[tuple[Path, tuple[str, ...]]] = field(default_factory=list)
    """Pools, with the person's pseudonyms in each."""
    exported_adapters: dict[str, Path] = field(default_factory=dict)
    """Exported adapters by the sha256 of their weights."""
    untouched: list[Dataset] = field(default_factory=list)
    """Datasets that contain nothing of the person."""
    owners: dict[str, str] = field(default_factory=dict)
    """The person behind each pseudonym in ``pools``."""
    foreign_folders: list[Path] = field(default_factory=list)
    """Folders of another task in which the same numeric id belongs to another person."""
    unreadable: list[str] = field(default_factory=list)
    linked_paths: tuple[Path, ...] = ()
    """What links below the folders lead to outside of them: it stays if a link is deleted."""
    unsearchable_count: int = 0
    """The number of the person's texts that are too short to be searched for."""
    others_short: set[str] = field(default_factory=set)
    """Short texts of the person that other people wrote, too, in any of the datasets."""

    @property
    def origins(self) -> HistoryOrigins:
        """Tells which artifacts were made from histories that change."""
        return HistoryOrigins(main=self.main, others=self.datasets, untouched=self.untouched)

    def finds_any(self, handlers: Sequence[ErasureHandler]) -> bool:
        """Whether one of the handlers finds something in one of the folders."""
        for folder in self.folders:
            for handler in handlers:
                with self.collect_errors():
                    if handler.find(folder, self.request):
                        return True
        return False

    @contextmanager
    def collect_errors(self) -> Generator[None]:
        """Add errors about unreadable artifacts to the receipt, and continue."""
        try:
            yield
        except ArtifactError as error:
            if str(error) not in self.unreadable:
                self.unreadable.append(str(error))


def require_adapters(folder: Path) -> None:
    """Raise MissingError if the folder is neither an adapter store nor a recipe store."""
    kinds: tuple[type[BaseBoundArtifact], ...] = (AdapterStore, RecipeStore)
    if not any((folder / kind.HEADER_FILE).is_file() for kind in kinds):
        raise MissingError(f"{folder}: is neither an adapter store nor a recipe store")


def collect_inventory(
    main: Redaction, tops: Sequence[Path], stores: Sequence[Path], datasets: DatasetErasure
) -> PersonInventory:
    """Search the folders below ``tops``, and the given stores wherever they are."""
    records = frozenset() if main.is_whole_person else main.wanted_records
    leaving = ErasureRequest(
        person=main.person,
        records=records,
        contents=main.removed_contents if records and main.removed_count else None,
        task=main.dataset.task,
        patterns=main.unique_patterns,
        affected_people=main.affected_people,
    )
    out = PersonInventory(request=leaving, main=main, unsearchable_count=main.unsearchable_count)

    def note_skipped(path: Path, why: str) -> None:
        out.unreadable.append(f"{path}: {why}")

    # First pass: find out what each folder is.
    folders = [*walk_folders([*tops, *stores], skip=note_skipped)]
    out.linked_paths = find_outside_targets([*tops, *stores])
    out.folders = tuple(folders)
    for folder in folders:
        with out.collect_errors():
            _classify_folder(folder, main, datasets, out)
    # Every dataset adds unique texts to search for, and people whose histories change.
    texts, tensors = set(main.unique_patterns.texts), set[bytes]()
    short = set(main.unique_patterns.short)
    changed, files = set(main.affected_people), set[str]()
    for other in out.datasets:
        texts |= other.unique_patterns.texts
        short |= other.unique_patterns.short
        changed |= other.affected_people
    # Second pass, over the stores: signatures of adapters that were made of what is forgotten, the
    # person's own and those of people who are quoted with it, and means that include them.
    for folder in _iter_with_parts(out.stores):
        with out.collect_errors():
            tensors |= _read_signatures(folder, out)
    for folder in out.stores:
        with out.collect_errors():
            for person in _list_affected_owners(folder, out):
                files |= _find_means(folder, person)
    out.request = replace(
        leaving,
        patterns=SearchPatterns(
            frozenset(texts), frozenset(tensors), frozenset(short - out.others_short)
        ),
        affected_people=frozenset(changed),
        files=frozenset(files),
    )
    # Pseudonyms come from the ledgers of the stores, so pools can only be resolved now.
    out.pools = [(pool, names) for pool, _ in out.pools if (names := _find_pseudonyms(pool, out))]
    return out


def _classify_folder(
    folder: Path, main: Redaction, datasets: DatasetErasure, out: PersonInventory
) -> None:
    """Add a folder to the inventory, according to what it contains."""
    # The main dataset is handled separately, and last.
    if folder.resolve() == main.dataset.folder.resolve():
        return
    found = datasets.plan_redaction(folder, out.request)
    if found is not None:
        out.others_short |= found.others_short
    if found is not None and found.is_needed:
        out.datasets.append(found)
    elif found is not None:
        out.untouched.append(found.dataset)
    elif is_store(folder):
        # A link in a store that leads out of it would take changes there.
        require_no_outside_links(folder)
        store = AdapterStore.open(folder)
        (out.stores if out.request.is_same_person(store.task) else out.foreign_folders).append(
            folder
        )
    elif (folder / RecipeStore.HEADER_FILE).is_file():
        recipes = RecipeStore.open(folder)
        (out.recipes if out.request.is_same_person(recipes.task) else out.foreign_folders).append(
            folder
        )
    elif (folder / Pool.HEADER_FILE).is_file():
        Pool.open(folder)
        out.pools.append((folder, ()))
    elif (folder / WEIGHTS_FILE).is_file():
        out.exported_adapters[sha256_file(folder / WEIGHTS_FILE)] = folder
    # A dataset without a redaction: the id belongs to another person there.
    elif is_dataset(folder):
        out.foreign_folders.append(folder)


def _iter_with_parts(stores: Sequence[Path]) -> Iterator[Path]:
    """Yield stores, each followed by its unmerged parts."""
    for folder in stores:
        yield folder
        yield from sorted(p.parent for p in folder.glob(f"parts/*/{AdapterStore.HEADER_FILE}"))


def _list_affected_owners(folder: Path, found: PersonInventory) -> list[str]:
    """Return the people whose adapters in a store were made of what is forgotten.

    A person who is forgotten entirely counts in every store, even without an adapter.
    """
    store, main = AdapterStore.open(folder), found.main
    own = [main.person] if main.is_whole_person else []
    changed = sorted(found.origins.list_people(store.task) - {*own})
    records = [record for p in changed if (record := store.get_record(p)) is not None]
    return [*own, *(r.person for r in records if found.origins.is_affected(store, r))]


def _read_signatures(folder: Path, found: PersonInventory) -> frozenset[bytes]:
    """Return the signatures of the adapters that were made of what is forgotten."""
    store, out = AdapterStore.open(folder), frozenset[bytes]()
    for person in _list_affected_owners(folder, found):
        adapter = store.get_adapter(person)
        out |= byte_signatures(adapter) if adapter else frozenset()
    return out


def _find_means(folder: Path, person: str) -> set[str]:
    """Return the sha256 of each mean that includes the person."""
    # The ledger of a store records every mean that its adapters were shared into.
    entries = Ledger(folder / LEDGER_FOLDER).read_readable_by_person().get(person, ())
    means = [e for e in entries if e.event == "shared" and e.details.get("scope") == "mean"]
    return {str(entry.details["sha256"]) for entry in means if "sha256" in entry.details}


def _find_pseudonyms(pool: Path, found: PersonInventory) -> tuple[str, ...]:
    """Return the pseudonyms in a pool whose pieces were made of what is forgotten, from all ledgers
    that list them."""
    opened = Pool.open(pool)
    names: list[str] = []
    for folder in found.stores:
        with found.collect_errors():
            every = PoolLedger(Ledger(folder / LEDGER_FOLDER), opened).list_all_pseudonyms()
            for person in _list_affected_owners(folder, found) if every else ():
                found.owners |= dict.fromkeys(every.get(person, ()), person)
                names += every.get(person, ())
    return tuple(dict.fromkeys(names))
