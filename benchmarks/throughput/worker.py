"""A method in a process of its own: reads orders as JSON lines, trains, tells what it took.

    python -m throughput.worker SETTINGS.json ours|PEER

A method that changes the base (PEFT wraps it) or brings other libraries (mLoRA) disturbs nobody
that way; our rows, which leave the base as it is, share one. It stays alive between orders:
importing and loading are not what is measured.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from idiolect.adapters import LoraConfig
from idiolect.config import from_plain
from idiolect.models import Base
from idiolect.training import TrainConfig
from throughput import memory, orders
from throughput.bases import get_base
from throughput.ours import ROWS, Ours
from throughput.work import Work


class Method(Protocol):
    """A way to train everybody's adapter."""

    def train(self, work: Work) -> float:
        """Train everyone; gives the seconds it took."""
        ...

    def losses(self, work: Work) -> dict[str, float]:
        """Everyone's mean loss per held-out target token, after ``train``."""
        ...


def build(name: str, base: Base, settings: dict[str, Any]) -> Method:
    """The method of a name: a peer, or a row of ours."""
    lora = from_plain(LoraConfig, settings["lora"])
    train = from_plain(TrainConfig, settings["train"])
    row = next((row for row in ROWS if row.name == name), None)
    if row:
        return Ours(base, row, lora, train)
    from throughput.peers import STYLES, TrainerPeer

    people = [person["person"] for work in settings["work"] for person in work["people"]]
    return TrainerPeer(base, sorted(set(people)), lora, train, STYLES[name])


def answering(base: Base, settings: dict[str, Any]) -> Callable[[Any], Any]:
    """What answers an order {"method", "task", "people", "warm_up", "losses"}."""
    works = {data["task"]: Work.from_plain(data) for data in settings["work"]}
    batch = settings["train"]["batch"]
    methods: dict[str, Method] = {}

    def answer(order: dict[str, Any]) -> dict[str, Any]:
        name = order["method"]
        if name not in methods:
            methods[name] = build(name, base, settings)
        method = methods[name]
        work = works[order["task"]].first(order["people"])
        if order["warm_up"]:
            method.train(work.first_step(batch))
        forget_peak(base)
        seconds = method.train(work)
        peak = peak_mib(base)
        losses = method.losses(work) if order["losses"] else {}
        hand_back(base)
        return {"seconds": seconds, "peak_mib": peak, "losses": losses}

    return answer


def forget_peak(base: Base) -> None:
    """Start counting memory from here: the device's on CUDA, else the process's."""
    if base.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    else:
        memory.forget_peak()


def peak_mib(base: Base) -> float:
    """The most memory since ``forget_peak``, in MiB."""
    if base.device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return memory.peak_mib()


def hand_back(base: Base) -> None:
    """Give memory back that is not needed any more: others work while this one waits."""
    gc.collect()
    if base.device.type == "cuda":
        torch.cuda.empty_cache()


def keep_resident(base: Base) -> None:
    """Copy weights that are mapped from a file: while others work, their pages may be dropped."""
    for parameter in base.model.parameters():
        parameter.data = parameter.data.clone()


def main() -> None:
    """Serve orders until standard input ends."""
    with orders.answers() as out:
        settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        base = get_base(settings["base"], settings["device"])
        keep_resident(base)
        orders.serve(answering(base, settings), out)


if __name__ == "__main__":
    main()
