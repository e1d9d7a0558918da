"""A writer of a store in a process of its own."""

from __future__ import annotations

import time
from pathlib import Path

from idiolect.adapters.store.store import AdapterStore, Record
from idiolect.models.tiny import tiny_base
from support.tiny_people import noisy


def write(folder: str, person: str, said: str, hold: float) -> None:
    """Take the store, say so, write a person a while later."""
    store = AdapterStore.open(Path(folder))
    with store.writing():
        Path(said).touch()
        time.sleep(hold)
        record = Record(person=person, served="adapter", made_by="x")
        store.add([(record, noisy(tiny_base(), 7))])
