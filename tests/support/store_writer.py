"""A function that writes to a store, to run in another process."""

from __future__ import annotations

import time
from pathlib import Path

from idiolect.adapters.store.store import AdapterRecord, AdapterStore
from idiolect.models.tiny import make_tiny_base
from support.tiny_people import random_adapter


def hold_and_write(folder: str, person: str, lock_marker: str, hold: float) -> None:
    """Lock the store, create the marker file, and write a person after ``hold`` seconds."""
    store = AdapterStore.open(Path(folder))
    with store.lock_for_writing():
        Path(lock_marker).touch()
        time.sleep(hold)
        record = AdapterRecord(person=person, served="adapter", made_by="x")
        store.add([(record, random_adapter(make_tiny_base(), 7))])
