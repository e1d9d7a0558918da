"""A writer of a store in a process of its own."""

from __future__ import annotations

import time
from pathlib import Path

from idiolect.adapters.store.store import AdapterRecord, AdapterStore
from idiolect.models.tiny import make_tiny_base
from support.tiny_people import random_adapter


def hold_and_write(folder: str, person: str, said: str, hold: float) -> None:
    """Take the store, say so, write a person a while later."""
    store = AdapterStore.open(Path(folder))
    with store.lock_for_writing():
        Path(said).touch()
        time.sleep(hold)
        record = AdapterRecord(person=person, served="adapter", made_by="x")
        store.add([(record, random_adapter(make_tiny_base(), 7))])
