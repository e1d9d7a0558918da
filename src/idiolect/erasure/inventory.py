"""Finds everything of a person below some folders, before anything is changed.

Collects rows and words in datasets, signatures of the person's adapters, means that include them,
and the person's pseudonyms in pools. Modifies nothing, except that it cleans up after crashed
writers.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from idiolect.adapters.erasure import is_store
from idiolect.adapters.formats.peft import WEIGHTS_FILE
from idiolect.adapters.store.signatures import byte_signatures
from idiolect.adapters.store.store import AdapterRecord, AdapterStore
from idiolect.config import from_plain
from idiolect.errors import ArtifactError
from idiolect.history.dataset import Dataset
from idiolect.history.erasure import DatasetErasure, is_dataset
from idiolect.history.history import History
from idiolect.history.redact import Redaction
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.pieces.sharing.pool_ledger import PoolLedger
from idiolect.privacy.erasure import ErasureRequest, walk_folders
from idiolect.privacy.ledger import Ledger
from idiolect.privacy.patterns import SearchPatterns
from idiolect.storage.files import sha256_file
from idiolect.training.runs.plan import PersonalConfig

LEDGER_FOLDER = "ledger"


@dataclass(kw_only=True)
class PersonInventory:
    """What was found."""

    request: ErasureRequest
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
    foreign_folders: list[Path] = field(default_factory=list)
    """Folders of another task in which the same numeric id belongs to another person."""
    unreadable: list[str] = field(default_factory=list)

    @contextmanager
    def collect_errors(self) -> Generator[None]:
        """Add errors about unreadable artifacts to the receipt, and continue."""
        try:
            yield
        except ArtifactError as error:
            if str(error) not in self.unreadable:
                self.unreadable.append(str(error))


def collect_inventory(
    main: Redaction, tops: Sequence[Path], stores: Sequence[Path], datasets: DatasetErasure
) -> PersonInventory:
    """Search the folders below ``tops``, and the given stores wherever they are."""
    leaving = ErasureRequest(
        person=main.person,
        records=main.records,
        task=main.dataset.task,
        patterns=main.unique_patterns,
        affected_people=main.affected_people,
    )
    out = PersonInventory(request=leaving)
    # First pass: find out what each folder is.
    folders = [*walk_folders([*tops, *stores])]
    out.folders = tuple(folders)
    for folder in folders:
        with out.collect_errors():
            _classify_folder(folder, main, datasets, out)
    # Every dataset adds unique texts to search for, and people whose histories change.
    texts, tensors = set(main.unique_patterns.texts), set[bytes]()
    changed, files = set(main.affected_people), set[str]()
    for other in out.datasets:
        texts |= other.unique_patterns.texts
        changed |= other.affected_people
    # Second pass, over the stores: signatures of the person's adapters, and means that include
    # them.
    for folder in _iter_with_parts(out.stores):
        with out.collect_errors():
            tensors |= _read_signatures(folder, main)
    for folder in out.stores:
        with out.collect_errors():
            files |= _find_means(folder, main.person)
    out.request = replace(
        leaving,
        patterns=SearchPatterns(frozenset(texts), frozenset(tensors)),
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
        out.datasets += [found] if found.is_needed else []
    elif is_store(folder):
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


def _read_signatures(folder: Path, main: Redaction) -> frozenset[bytes]:
    """Return the signatures of the person's adapter, if it is among what is forgotten."""
    store = AdapterStore.open(folder)
    record = store.get_record(main.person)
    if record is None or record.row is None:
        return frozenset()
    if main.records and main.person in main.dataset:
        # If only records are forgotten, an adapter that never saw them keeps its signatures.
        kept = main.redact_history(main.dataset.read_history(main.person))
        if not is_stale(record, kept, read_last_items(store)):
            return frozenset()
    adapter = store.get_adapter(main.person)
    return byte_signatures(adapter) if adapter else frozenset()


def _find_means(folder: Path, person: str) -> set[str]:
    """Return the sha256 of each mean that includes the person."""
    # The ledger of a store records every mean that its adapters were shared into.
    entries = Ledger(folder / LEDGER_FOLDER).read_entries_of(person)
    means = [e for e in entries if e.event == "shared" and e.details.get("scope") == "mean"]
    return {str(entry.details["sha256"]) for entry in means if "sha256" in entry.details}


def _find_pseudonyms(pool: Path, found: PersonInventory) -> tuple[str, ...]:
    """Return the person's pseudonyms in a pool, from all ledgers that list the person."""
    opened = Pool.open(pool)
    names: list[str] = []
    for folder in found.stores:
        with found.collect_errors():
            every = PoolLedger(Ledger(folder / LEDGER_FOLDER), opened).list_all_pseudonyms()
            names += every.get(found.request.person, ())
    return tuple(dict.fromkeys(names))


def read_last_items(store: AdapterStore) -> int:
    """Return the number of last items per person that a store was trained on; 0 means all."""
    return from_plain(PersonalConfig, store.settings, where=str(store.folder)).last_items


def is_stale(record: AdapterRecord, history: History | None, last: int) -> bool:
    """Return whether an adapter was trained on anything other than the first items of ``history``.

    An imported adapter does not record its items, so it counts as stale if it exists.
    """
    if record.row is None and not record.items:
        return False
    if history is None or not record.items:
        return True
    # The record's fingerprint covers the items that training used.
    used = history.take_last(last) if last else history
    first = History(history.person, used.items[: record.items])
    return first.compute_fingerprint() != record.history


def find_histories(dataset: Dataset, people: Collection[str]) -> dict[str, History | None]:
    """Return the histories of some people, ``None`` for a person who is not in the dataset."""
    return {
        person: dataset.read_history(person) if person in dataset else None
        for person in sorted(people)
    }
