"""Parts of the benchmark made beside each other: a process for each processor, with one thread.

Two threads of one training are hardly faster than one: its matrices are small.
"""

from __future__ import annotations

import signal
import time
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import torch

from idiolect.events import Listener, Progress, silent
from idiolect.models import MiniLM, load_base
from unlearning_bench.models import Bench
from unlearning_bench.settings import Settings, quick

Where = tuple[str, Path, bool]
"""The base, the folder of what is kept, whether sizes are those of tests."""


@lru_cache(maxsize=1)
def bench(where: Where, listener: Listener = silent) -> Bench:
    """The benchmark in this process."""
    base, work, small = where
    settings = quick() if small else Settings()
    loaded = load_base(base, dtype="float32" if small else "auto")
    return Bench(loaded, settings, work, MiniLM(batch=16), listener)


def make(names: list[str], where: Where, processes: int, listener: Listener) -> None:
    """Have parts made and kept. What one raises ends all; what is kept by then stays."""
    started = time.monotonic()
    with get_context("spawn").Pool(processes, _alone) as pool:
        jobs = [(name, where) for name in names]
        for done, name in enumerate(pool.imap_unordered(_make, jobs), start=1):
            stage = f"{name}, {time.monotonic() - started:.0f} s"
            listener(Progress(stage=stage, done=done, total=len(jobs), unit="parts"))


def _alone() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    torch.set_num_threads(1)


def _make(job: tuple[str, Where]) -> str:
    name, where = job
    bench(where).part(name)
    return name
