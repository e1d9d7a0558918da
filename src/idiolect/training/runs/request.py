"""One call of ``personalize`` as a value: the command, the API and the run share it.

Loads no torch, and is plain enough to be sent to another machine that sees the same folders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from idiolect.errors import UsageError

if TYPE_CHECKING:
    from idiolect.training.engine.config import EngineConfig
    from idiolect.training.runs.plan import Mode, PersonalConfig


@dataclass(frozen=True, kw_only=True)
class PersonalizeRequest:
    """Whose adapters to train, on what, and into which store.

    Raises UsageError for fields that exclude each other.
    """

    data: Path
    """Folder of the dataset."""
    store: Path
    """Folder of the adapters; made if it is missing."""
    base: str = "default"
    """The base model: ``default`` (embedded), a folder, or a hub id."""
    config: PersonalConfig | None = None
    """What decides what the adapters become; its defaults if ``None``."""
    engine: EngineConfig | None = None
    """How the work is laid out: speed and rounding, never what is computed."""
    people: Sequence[str] = ()
    """Only these people; all of the dataset if empty."""
    profiles: Path | None = None
    """Folder of profiles; needed if ``config.context.profile`` is on."""
    mode: Mode = "afresh"
    """If a history has grown: train on all of it, or ``continue`` from the present adapter."""
    start: Path | None = None
    """Folder of a PEFT adapter from which each person's training starts (``mean`` makes one); the
    store's manifest names its weights' sha256."""
    pieces: Path | None = None
    """Folder of recipes (``assemble``): each person's training starts from the adapter that their
    recipe makes, and all adapters are of its kind; the store names the pool, each record the
    sharers."""
    shard: str | None = None
    """``k/N``: train only the people of shard k of N, into a part of the store (see ``merge``)."""
    ray: str | None = None
    """A Ray cluster's address, or ``local``: train all shards there, and merge them."""
    shards: int | None = None
    """With ``ray``: the number of shards."""
    workers: int | None = None
    """With ``ray``: the number of workers."""
    wait: bool = True
    """Wait if another process writes the store; otherwise raise BusyError."""

    def __post_init__(self) -> None:
        if self.ray is None and (self.shards, self.workers) != (None, None):
            raise UsageError("shards and workers are for a run on Ray: name a cluster, or 'local'")
        if self.shard is not None and self.ray is not None:
            raise UsageError("one shard or all of them on Ray: say one of the two")
        if self.start is not None and self.pieces is not None:
            raise UsageError("training starts from one adapter or from pieces: say one of the two")
