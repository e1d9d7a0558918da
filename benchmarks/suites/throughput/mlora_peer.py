"""Peer C: mLoRA in its own environment (it needs torch below 2.4), without Idiolect.

    PYTHON -m suites.throughput.mlora_peer SETTINGS.json peer-c

Uses the model, adapters and optimizers of mLoRA 0.5.2, with all people in one forward pass. Its own
dispatcher is not used: it includes prompts and padding in the loss and always recomputes
activations. Environment: ``pip install mlora==0.5.2 "numpy<2" "pyarrow<20" "datasets<4"``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kit import memory
from suites.throughput import orders

IGNORE_INDEX = -100
TINY_DROPOUT = 1e-9
"""mLoRA rejects 0."""


@contextmanager
def write_older_config(folder: Path) -> Iterator[Path]:
    """Yield a copy of the base's folder with a config that transformers 4.44 can read."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config["torch_dtype"] = config.pop("dtype")
    with tempfile.TemporaryDirectory() as made:
        (Path(made) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        for file in folder.glob("*.safetensors"):
            (Path(made) / file.name).symlink_to(file.resolve())
        yield Path(made)


class MloraPeer:
    """mLoRA's model with one adapter per person of a task."""

    def __init__(self, settings: dict[str, Any]) -> None:
        os.environ["MLORA_BACKEND_TYPE"] = "CPU"
        import mlora  # pyright: ignore[reportMissingImports]

        self.mlora, self.lora, self.config = mlora, settings["lora"], settings["train"]
        with write_older_config(Path(settings["folder"])) as folder:
            self.model = mlora.LLMModel.from_pretrained(str(folder), device="cpu")

    def train_all(self, people: list[dict[str, Any]]) -> float:
        """Train all people together; return the seconds."""
        import torch

        started = time.perf_counter()
        for name in list(self.model.adapter_configs_):
            self.model.unload_adapter(name)
        # A new adapter and optimizer for each person.
        optimizers: dict[str, Any] = {}
        for person in people:
            optimizers[person["person"]] = self._make_optimizer(person["person"])
        batch, epochs = self.config["batch"], self.config["epochs"]
        plans = {p["person"]: _make_batches(p["train"], batch) * epochs for p in people}
        # Each step runs one batch of each person that has one left.
        for step in range(max(map(len, plans.values()))):
            rows = {name: plan[step] for name, plan in plans.items() if step < len(plan)}
            outputs = self.model.forward(self._build_input(rows))
            loss: Any = sum(output.loss for output in outputs)
            loss.backward()
            for output in outputs:
                optimizer, weights = optimizers[output.adapter_name]
                torch.nn.utils.clip_grad_norm_(weights, self.config["clip"])
                rate = _compute_rate(step, len(plans[output.adapter_name]), self.config)
                optimizer.param_groups[0]["lr"] = rate
                optimizer.step()
                optimizer.zero_grad()
        return time.perf_counter() - started

    def compute_losses(self, people: list[dict[str, Any]]) -> dict[str, float]:
        """Return each person's mean loss per held-out target token in nats, after ``train_all``."""
        import torch

        out: dict[str, float] = {}
        with torch.no_grad():
            for person in people:
                rows = {person["person"]: person["held_out"]}
                out[person["person"]] = float(self.model.forward(self._build_input(rows))[0].loss)
        return out

    def _make_optimizer(self, name: str) -> tuple[Any, list[Any]]:
        import torch

        config = {
            "name": name,
            "task_name": "casual",
            "r": self.lora["rank"],
            "lora_alpha": int(self.lora["alpha"]),
            "lora_dropout": TINY_DROPOUT,
            "target_modules": list(self.lora["targets"]),
        }
        self.model.init_adapter(self.mlora.lora_config_factory(config))
        weights = [w for w in self.model.get_adapter_weight_dict(name).values() if w.requires_grad]
        decay = self.config["weight_decay"]
        return torch.optim.AdamW(weights, lr=self.config["rate"], weight_decay=decay), weights

    def _build_input(self, rows: dict[str, list[Any]]) -> Any:
        """Return the input of one forward pass: rows by person, padded to the longest of all."""
        from mlora.modules import (  # pyright: ignore[reportMissingImports]
            LLMBatchConfig,
            LLMModelInput,
        )

        # mLoRA expects one width for all rows, and the rows of each adapter next to each other.
        width = max(len(ids) for theirs in rows.values() for ids, _ in theirs)
        batches, tokens, labels, masks = [], [], [], []
        for name, theirs in rows.items():
            batches.append(LLMBatchConfig(name, len(tokens), len(tokens) + len(theirs)))
            for ids, start in theirs:
                gap = width - len(ids)
                tokens.append(ids + [0] * gap)
                labels.append([IGNORE_INDEX] * start + ids[start:] + [IGNORE_INDEX] * gap)
                masks.append([1] * len(ids) + [0] * gap)
        return LLMModelInput(
            batch_configs_=batches, batch_tokens_=tokens, batch_labels_=labels, batch_masks_=masks
        )


def _make_batches(examples: list[Any], size: int) -> list[list[Any]]:
    """Return batches of similar length, the longest first, like ``group_by_length``."""
    order = sorted(examples, key=lambda e: -len(e[0]))
    return [order[i : i + size] for i in range(0, len(order), size)]


def _compute_rate(step: int, steps: int, config: dict[str, Any]) -> float:
    """Return the learning rate of our schedule (``training.schedule.compute_learning_rate``)."""
    rise = int(config["warmup"] * steps)
    if step < rise:
        return config["rate"] * (step + 1) / (rise + 1)
    return config["rate"] * (steps - step) / (steps - rise)


def make_answerer(settings: list[dict[str, Any]]) -> Callable[[Any], Any]:
    """Return a function that answers an order {"task", "people", "warm_up", "losses"}."""
    by_task = {data["task"]: (one, data["people"]) for one in settings for data in one["work"]}
    methods: dict[str, MloraPeer] = {}

    def answer_order(order: dict[str, Any]) -> dict[str, Any]:
        task = order["task"]
        own, people = by_task[task]
        people = people[: order["people"] or None]
        if task not in methods:
            methods.clear()
            methods[task] = MloraPeer(own)
        method = methods[task]
        if order["warm_up"]:
            method.train_all([{**people[0], "train": people[0]["train"][: own["train"]["batch"]]}])
        memory.reset_peak()
        seconds = method.train_all(people)
        peak = memory.read_peak_mib()
        losses = method.compute_losses(people) if order["losses"] else {}
        return {"seconds": seconds, "peak_mib": peak, "losses": losses}

    return answer_order


def main() -> None:
    """Serve orders until standard input ends."""
    with orders.open_answers() as out:
        settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        orders.serve_orders(make_answerer(settings), out)


if __name__ == "__main__":
    main()
