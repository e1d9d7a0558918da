"""A method in a process of its own: reads orders as JSON lines, trains, tells what it took.

    python -m suites.throughput.worker SETTINGS.json ours|PEER

SETTINGS.json lists what is set for each task, as ``measure.settings_of`` makes it.
A method that changes the base (PEFT wraps it) or brings other libraries (mLoRA) disturbs nobody
that way; our rows, which leave the base as it is, share one. It stays alive between orders:
importing and loading are not what is measured.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from idiolect.adapters.lora import LoraConfig
from idiolect.config import from_plain
from idiolect.models.base import Base
from idiolect.training.schedule import TrainConfig
from kit import memory
from suites.throughput import orders
from suites.throughput.bases import load_shape_or_base
from suites.throughput.ours import ENGINE_ROWS, EngineMethod
from suites.throughput.work import TrainingWork


class Method(Protocol):
    """A way to train everybody's adapter."""

    def train_all(self, work: TrainingWork) -> float:
        """Train everyone; gives the seconds it took."""
        ...

    def compute_losses(self, work: TrainingWork) -> dict[str, float]:
        """Everyone's mean loss per held-out target token, after ``train``."""
        ...


def build_method(name: str, base: Base, settings: dict[str, Any]) -> Method:
    """The method of a name: a peer, or a row of ours."""
    lora = from_plain(LoraConfig, settings["lora"])
    train = from_plain(TrainConfig, settings["train"])
    row = next((row for row in ENGINE_ROWS if row.name == name), None)
    if row:
        return EngineMethod(base, row, lora, train)
    from suites.throughput.peers import PEER_STYLES, TrainerPeer

    people = [person["person"] for work in settings["work"] for person in work["people"]]
    return TrainerPeer(base, sorted(set(people)), lora, train, PEER_STYLES[name])


class Worker:
    """Answers orders; holds the base and the methods of one task at a time."""

    def __init__(self, settings: Sequence[dict[str, Any]]) -> None:
        self.settings = {data["task"]: one for one in settings for data in one["work"]}
        self.works = {
            data["task"]: TrainingWork.from_plain(data) for one in settings for data in one["work"]
        }
        self.task = ""
        self.base: Base | None = None
        self.methods: dict[str, Method] = {}

    def answer_order(self, order: dict[str, Any]) -> dict[str, Any]:
        """What an order {"method", "task", "people", "warm_up", "losses"} took and gave."""
        base, settings = self._switch_task(order["task"])
        name = order["method"]
        if name not in self.methods:
            self.methods[name] = build_method(name, base, settings)
        method = self.methods[name]
        work = self.works[order["task"]].take_people(order["people"])
        if order["warm_up"]:
            method.train_all(work.take_first_step(settings["train"]["batch"]))
        reset_device_peak(base)
        seconds = method.train_all(work)
        peak = measure_peak_mib(base)
        losses = method.compute_losses(work) if order["losses"] else {}
        release_memory(base)
        return {"seconds": seconds, "peak_mib": peak, "losses": losses}

    def _switch_task(self, task: str) -> tuple[Base, dict[str, Any]]:
        """The task's base, loaded where another task came before, and settings."""
        settings = self.settings[task]
        if self.base is None or self.task != task:
            self.base, self.methods = None, {}
            gc.collect()
            self.base, self.task = load_shape_or_base(settings["base"], settings["device"]), task
            copy_mapped_weights(self.base)
        return self.base, settings


def reset_device_peak(base: Base) -> None:
    """Start counting memory from here: the device's on CUDA, else the process's."""
    if base.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        memory.reset_peak()


def measure_peak_mib(base: Base) -> float:
    """The most memory since ``forget_peak``, in MiB."""
    if base.device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return memory.read_peak_mib()


def release_memory(base: Base) -> None:
    """Give memory back that is not needed any more: others work while this one waits."""
    gc.collect()
    if base.device.type == "cuda":
        torch.cuda.empty_cache()


def copy_mapped_weights(base: Base) -> None:
    """Copy weights that are mapped from a file: while others work, their pages may be dropped."""
    for parameter in base.model.parameters():
        parameter.data = parameter.data.clone()


def main() -> None:
    """Serve orders until standard input ends."""
    with orders.open_answers() as out:
        settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        orders.serve_orders(Worker(settings).answer_order, out)


if __name__ == "__main__":
    main()
