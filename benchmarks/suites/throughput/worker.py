"""The process of a method: reads orders as JSON lines, trains, and answers with the cost.

    python -m suites.throughput.worker SETTINGS.json ours|PEER

SETTINGS.json lists the settings of each task, as ``measure.build_settings`` returns them. Separate
processes isolate methods that change the base (PEFT wraps it) or need other libraries (mLoRA); our
rows do not change the base and share one process. The process stays alive between orders, because
imports and loading are not measured.
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
    """A method that trains the adapters of all people."""

    def train_all(self, work: TrainingWork) -> float:
        """Train all people; return the seconds."""
        ...

    def compute_losses(self, work: TrainingWork) -> dict[str, float]:
        """Return each person's mean loss per held-out target token, after ``train_all``."""
        ...


def build_method(name: str, base: Base, settings: dict[str, Any]) -> Method:
    """Return the method with this name: a peer, or one of our rows."""
    lora = from_plain(LoraConfig, settings["lora"])
    train = from_plain(TrainConfig, settings["train"])
    row = next((row for row in ENGINE_ROWS if row.name == name), None)
    if row:
        return EngineMethod(base, row, lora, train)
    from suites.throughput.peers import PEER_STYLES, TrainerPeer

    people = [person["person"] for work in settings["work"] for person in work["people"]]
    return TrainerPeer(base, sorted(set(people)), lora, train, PEER_STYLES[name])


class Worker:
    """Answers orders; holds the base and methods of one task at a time."""

    def __init__(self, settings: Sequence[dict[str, Any]]) -> None:
        self.settings = {data["task"]: one for one in settings for data in one["work"]}
        self.works = {
            data["task"]: TrainingWork.from_plain(data) for one in settings for data in one["work"]
        }
        self.task = ""
        self.base: Base | None = None
        self.methods: dict[str, Method] = {}

    def answer_order(self, order: dict[str, Any]) -> dict[str, Any]:
        """Run an order {"method", "task", "people", "warm_up", "losses"}; return its result."""
        base, settings = self._switch_task(order["task"])
        name = order["method"]
        if name not in self.methods:
            self.methods[name] = build_method(name, base, settings)
        method = self.methods[name]
        work = self.works[order["task"]].take_people(order["people"])
        # The first order of a method also runs one step that is not measured.
        if order["warm_up"]:
            method.train_all(work.take_first_step(settings["train"]["batch"]))
        reset_device_peak(base)
        seconds = method.train_all(work)
        peak = measure_peak_mib(base)
        losses = method.compute_losses(work) if order["losses"] else {}
        release_memory(base)
        return {"seconds": seconds, "peak_mib": peak, "losses": losses}

    def _switch_task(self, task: str) -> tuple[Base, dict[str, Any]]:
        """Return the task's base and settings; loads the base if the task has changed."""
        settings = self.settings[task]
        if self.base is None or self.task != task:
            # Free the old base before loading the new one.
            self.base, self.methods = None, {}
            gc.collect()
            self.base, self.task = load_shape_or_base(settings["base"], settings["device"]), task
            copy_mapped_weights(self.base)
        return self.base, settings


def reset_device_peak(base: Base) -> None:
    """Reset the memory peak: of the device on CUDA, else of the process."""
    if base.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        memory.reset_peak()


def measure_peak_mib(base: Base) -> float:
    """Return the peak memory since ``reset_device_peak``, in MiB."""
    if base.device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return memory.read_peak_mib()


def release_memory(base: Base) -> None:
    """Free unused memory, since other processes work while this one waits."""
    gc.collect()
    if base.device.type == "cuda":
        torch.cuda.empty_cache()


def copy_mapped_weights(base: Base) -> None:
    """Copy weights that are mapped from a file; the system may drop mapped pages in between."""
    for parameter in base.model.parameters():
        parameter.data = parameter.data.clone()


def main() -> None:
    """Serve orders until standard input ends."""
    with orders.open_answers() as out:
        settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        orders.serve_orders(Worker(settings).answer_order, out)


if __name__ == "__main__":
    main()
