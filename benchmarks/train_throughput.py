"""How many people's adapters an hour: our engine against what a person would use instead.

    python benchmarks/train_throughput.py --json docs/results/train_throughput.json \\
        [--scholarly FOLDER] [--mlora PYTHON] [--only TASK]
    python benchmarks/train_throughput.py --json FILE --device cuda --shape 8b

The first measures real people's data on the default model; the second a model of a known shape
(without --shape that of the default model) with random weights and made-up items of 100 tokens.
``make docs`` writes docs/performance.md from the JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect.adapters import LoraConfig
from idiolect.errors import IdiolectError, UsageError
from idiolect.evaluation.environment import hardware, versions
from idiolect.models import Base
from idiolect.storage import write_atomic
from idiolect.training import TrainConfig
from idiolect.training.gate import mean_losses
from throughput.bases import SHAPES, get_base
from throughput.contenders import PEER_A, Contender, contenders
from throughput.counted import matmul_peaks
from throughput.measure import measure, settings_of
from throughput.result import Outcome, notes, raw, tables
from throughput.targets import cpu_targets, cuda_targets
from throughput.work import SEED, Work, made_up_work, real_work

PEOPLE = {"rating": 8, "reply": 3, "lamp-5": 2}
"""For two cores and a quarter of an hour: longer items, fewer people."""
ITEMS, BATCH = 16, 16
SHAPE_PEOPLE, SHAPE_ITEMS, SHAPE_BATCH, SHAPE_TOKENS = 32, 32, 8, 100
"""With random weights: 8 items of 100 tokens a step and person, 4 steps an epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured, and how often."""

    base: Base
    name: str
    device: str
    works: tuple[Work, ...]
    methods: tuple[Contender, ...]
    train: TrainConfig
    repeats: int
    quick: bool = False
    """Matrix products take less time; for tests."""


def plan_of(options: argparse.Namespace) -> Plan:
    """The plan of a command line. Raises UsageError for what does not go together."""
    name = options.shape or ("135m" if options.device == "cuda" else "default")
    base = get_base(name, options.device)
    if name in SHAPES:
        works = (
            made_up_work(
                name,
                people=options.people or SHAPE_PEOPLE,
                items=options.items or SHAPE_ITEMS,
                tokens=SHAPE_TOKENS,
                words=base.model.config.vocab_size,
            ),
        )
        methods = tuple(m for m in contenders(None) if m.name != PEER_A and not m.tasks)
        batch = SHAPE_BATCH
    else:
        asked = options.only or [t for t in PEOPLE if t != "lamp-5" or options.scholarly]
        works = tuple(
            real_work(
                base,
                task,
                people=options.people or PEOPLE[task],
                items=options.items or ITEMS,
                scholarly=options.scholarly,
            )
            for task in asked
        )
        methods, batch = contenders(options.mlora), BATCH
    if options.method:
        methods = tuple(m for m in methods if m.name in options.method)
        if len(methods) < len(set(options.method)):
            known = ", ".join(m.name for m in contenders(options.mlora))
            raise UsageError(f"--method: {options.method} are not all among: {known}")
    return Plan(
        base=base,
        name=name,
        device=options.device,
        works=works,
        methods=methods,
        train=TrainConfig(batch=batch),
        repeats=options.repeats,
        quick=name == "tiny",
    )


def run(plan: Plan) -> Outcome:
    """Measure everything; progress goes to standard error."""
    base = plan.base
    peaks = matmul_peaks(base, seconds=0.01, large=64) if plan.quick else matmul_peaks(base)
    settings = settings_of(base, plan.name, plan.device, LoraConfig(), plan.train, plan.works)
    untrained = {}
    for work in plan.works:
        losses = mean_losses(base, work.held_out, {}, forward_tokens=2048)
        untrained[work.task] = sum(losses.values()) / len(losses)
    return Outcome(
        methods=plan.methods,
        works=plan.works,
        untrained=untrained,
        epochs=plan.train.epochs,
        model=base.model,
        peaks=tuple(peaks),
        measured=measure(
            plan.methods,
            settings,
            repeats=plan.repeats,
            tell=lambda text: print(text, file=sys.stderr, flush=True),
        ),
    )


def result_of(plan: Plan, done: Outcome, path: Path, minutes: float, command: str) -> Any:
    """The benchmark's JSON."""
    on_shape = plan.name in SHAPES
    return {
        "name": path.stem,
        "page": "performance",
        "what": "Training throughput: people's adapters an hour, ours and others'",
        "command": command,
        "environment": {"hardware": hardware(_accelerator(plan.base)), "versions": versions()},
        "seeds": [SEED],
        "targets": cuda_targets(done, plan.name) if on_shape else cpu_targets(done, minutes),
        "notes": notes(
            done, repeats=plan.repeats, mlora=any(m.name == "peer-c" for m in plan.methods)
        ),
        "tables": list(tables(done)),
        "raw": raw(done),
    }


def _accelerator(base: Base) -> str | None:
    if base.device.type != "cuda":
        return None
    import torch

    return torch.cuda.get_device_name(base.device)


def main() -> int:
    """Measure and write the JSON; 2 where the command line cannot be followed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the result goes")
    parser.add_argument("--only", choices=tuple(PEOPLE), action="append")
    parser.add_argument("--method", action="append", help="only this method (may be repeated)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--people", type=int, help="instead of each task's own number")
    parser.add_argument("--items", type=int, help="items each person is trained on")
    parser.add_argument("--scholarly", type=Path, help="folder of an OPPU release of LaMP-5")
    parser.add_argument("--mlora", help="the Python of an environment with mLoRA, for peer C")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", choices=tuple(SHAPES), help="random weights of this shape")
    options = parser.parse_args()
    started = time.monotonic()
    try:
        plan = plan_of(options)
        done = run(plan)
    except IdiolectError as error:
        print(error, file=sys.stderr)
        return 2
    minutes = (time.monotonic() - started) / 60
    command = "python benchmarks/train_throughput.py " + " ".join(
        part if not Path(part).is_absolute() else "PATH" for part in sys.argv[1:]
    )
    result = result_of(plan, done, options.json, minutes, command)
    write_atomic(options.json, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
