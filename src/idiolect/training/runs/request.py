"""One call of ``personalize`` as a value, shared by the command, the API and the run.

Imports no torch, and can be sent to another machine that sees the same folders.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from idiolect.errors import UsageError

if TYPE_CHECKING:
    from idiolect.training.engine.config import EngineConfig
    from idiolect.training.runs.plan import Mode, PersonalConfig

NO_BASIS = (
    "private training moves along the directions of a basis: name it with start (--start FOLDER; "
    "idiolect mean --directions makes one from people who agreed)"
)


@dataclass(frozen=True, kw_only=True)
class PersonalizeRequest:
    """Whose adapters to train, on which data, into which store.

    Raises UsageError if fields exclude each other.
    """

    data: Path
    """Folder of the dataset."""
    store: Path
    """Folder of the adapters; created if missing."""
    base: str = "default"
    """The base model: ``default`` (bundled), a folder, or ``hub:`` and a hub id."""
    config: PersonalConfig | None = None
    """Settings that decide what the adapters become; defaults if ``None``."""
    engine: EngineConfig | None = None
    """Settings that affect speed and rounding only."""
    people: Sequence[str] = ()
    """Only these people; all people of the dataset if empty."""
    profiles: Path | None = None
    """Folder of profiles; required if ``config.context.profile`` is on."""
    mode: Mode = "afresh"
    """For a history that has grown: ``afresh`` trains on all of it, ``continue`` trains the current
    adapter on the new items."""
    allow_older: bool = False
    """Whether a history that is shorter or older than the one of a person's current adapter
    replaces this adapter. Otherwise the person is not trained, and the summary says so."""
    start: Path | None = None
    """Folder of a PEFT adapter from which each person's training starts (``mean`` makes one). The
    store's manifest has its weights' SHA-256."""
    private: float | None = None
    """Train with record-level differential privacy at this epsilon. ``start`` must be a basis (a
    mean with directions); gate, retrieval and profiles are off. Settings: ``config.private``."""
    pieces: Path | None = None
    """Folder of recipes (``assemble``). Each person's training starts from the adapter of their
    recipe, and all adapters are of that kind. The store names the pool, each record the sharers."""
    shard: str | None = None
    """``k/N``: train only the people of shard k of N, into a part of the store (see ``merge``)."""
    ray: str | None = None
    """Address of a Ray cluster, or ``local``: train all shards there, and merge them."""
    shards: int | None = None
    """Number of shards; only with ``ray``."""
    workers: int | None = None
    """Number of workers; only with ``ray``."""
    wait: bool = True
    """If another process writes the store: wait for it. Otherwise raise BusyError."""

    def __post_init__(self) -> None:
        if self.ray is None and (self.shards, self.workers) != (None, None):
            raise UsageError("shards and workers need ray: give a cluster's address, or 'local'")
        if self.shard is not None and self.ray is not None:
            raise UsageError(
                "shard and ray exclude each other: train one shard, or all shards on Ray"
            )
        if self.start is not None and self.pieces is not None:
            raise UsageError(
                "start and pieces exclude each other: start from one adapter, or from pieces"
            )
        if self.private is not None:
            self._check_private()

    def _check_private(self) -> None:
        """Raise UsageError if a field excludes private training."""
        if not (self.private is not None and 0 < self.private < math.inf):
            raise UsageError(f"private: epsilon must be a number above 0, got {self.private}")
        if self.start is None:
            raise UsageError(NO_BASIS)
        if self.mode == "continue":
            raise UsageError("private training starts from the basis each time: leave out continue")
        if self.shard is not None or self.ray is not None:
            raise UsageError(
                "private training counts each person's budget in one store: leave out shard and ray"
            )
