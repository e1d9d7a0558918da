"""Training throughput in adapters per hour: our engine compared with common alternatives.

    python benchmarks/throughput.py --json docs/results/train_throughput.json \\
        [--scholarly FOLDER] [--mlora PYTHON] [--only TASK]
    python benchmarks/throughput.py --json FILE --device cuda --shape 8b

The first command measures real people's data on the default model. The second one measures random
weights of a known shape (by default that of the default model) and random items of 100 tokens.
``--base TASK=FOLDER`` trains on a base adapted to the task, as personal adapters are meant to;
``quality.py`` writes such bases to its ``--work`` folder (TASK/base-*), and so does ``idiolect
adapt``.
``make docs`` writes docs/performance.md from the JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from idiolect.adapters.lora import LoraConfig
from idiolect.errors import IdiolectError
from idiolect.evaluation.environment import describe_hardware, list_versions
from idiolect.models.base import Base
from idiolect.storage.files import write_atomic
from idiolect.training.holdout_gate import compute_mean_losses
from suites.throughput.bases import SHAPES, load_shape_or_base
from suites.throughput.contenders import PEER_C
from suites.throughput.counted import iter_matmul_peaks
from suites.throughput.measure import build_settings, measure_methods
from suites.throughput.plan import PEOPLE, Plan, build_plan
from suites.throughput.result import ThroughputOutcome, build_notes, collect_raw, iter_tables
from suites.throughput.targets import build_cpu_targets, build_cuda_targets
from suites.throughput.work import SEED


def run_plan(plan: Plan) -> ThroughputOutcome:
    """Measure all methods of a plan; prints progress to standard error."""
    base = plan.base
    peaks = (
        iter_matmul_peaks(base, seconds=0.01, large=64) if plan.quick else iter_matmul_peaks(base)
    )
    # Each task may have its own base; measure its loss without adapters, too.
    settings: list[dict[str, Any]] = []
    untrained: dict[str, float] = {}
    for work in plan.works:
        name = plan.bases.get(work.task, plan.name)
        own = load_shape_or_base(name, plan.device) if name != plan.name else base
        settings.append(build_settings(own, name, plan.device, LoraConfig(), plan.train, (work,)))
        losses = compute_mean_losses(own, work.held_out, {}, forward_tokens=2048)
        untrained[work.task] = sum(losses.values()) / len(losses)
    return ThroughputOutcome(
        methods=plan.methods,
        works=plan.works,
        untrained=untrained,
        epochs=plan.train.epochs,
        model=base.model,
        peaks=tuple(peaks),
        measured=measure_methods(
            plan.methods,
            settings,
            repeats=plan.repeats,
            peer_people=plan.peer_people,
            report=lambda text: print(text, file=sys.stderr, flush=True),
        ),
    )


def build_result(plan: Plan, done: ThroughputOutcome, path: Path, minutes: float, line: str) -> Any:
    """Return the result as JSON data."""
    on_shape = plan.name in SHAPES
    return {
        "name": path.stem,
        "page": "performance",
        "what": "Training throughput: adapters per hour, compared with other trainers",
        "command": line,
        "environment": {
            "hardware": describe_hardware(_get_accelerator_name(plan.base)),
            "versions": list_versions(),
        },
        "seeds": [SEED],
        "targets": build_cuda_targets(done, plan.name)
        if on_shape
        else build_cpu_targets(done, minutes),
        "notes": build_notes(
            repeats=plan.repeats,
            mlora=any(m.name == PEER_C for m in plan.methods),
            peer_people=plan.peer_people,
        ),
        "tables": list(iter_tables(done)),
        "raw": collect_raw(done),
    }


def format_command(options: argparse.Namespace) -> str:
    """Return the command line that repeats a run, without local folder names."""
    words = ["python benchmarks/throughput.py", f"--json {_shorten_path(options.json)}"]
    for name, value in vars(options).items():
        if name in ("scholarly", "mlora") and value:
            value = {"scholarly": "FOLDER", "mlora": "PYTHON"}[name]
        if name == "base" and value:
            value = [one.partition("=")[0] + "=FOLDER" for one in value]
        if name != "json" and value is not None:
            words += [f"--{name} {one}" for one in (value if isinstance(value, list) else [value])]
    return " ".join(words)


def _shorten_path(path: Path) -> Path:
    return Path(path.name) if path.is_absolute() else path


def _get_accelerator_name(base: Base) -> str | None:
    if base.device.type != "cuda":
        return None
    import torch

    return torch.cuda.get_device_name(base.device)


def main() -> int:
    """Measure and write the result; return the exit code (2: the command line is not valid)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="output file of the result")
    parser.add_argument("--only", choices=tuple(PEOPLE), action="append")
    parser.add_argument("--method", action="append", help="measure only this method; repeatable")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--people", type=int, help="number of people in each task")
    parser.add_argument("--items", type=int, help="training items per person")
    parser.add_argument("--scholarly", type=Path, help="folder of an OPPU release of LaMP-5")
    parser.add_argument("--mlora", help="Python of an environment with mLoRA, for peer C")
    parser.add_argument(
        "--base", action="append", metavar="TASK=FOLDER", help="base adapted to a task"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--shape", choices=tuple(SHAPES), help="random weights of this shape")
    options = parser.parse_args()
    # The duration includes loading; it is one of the targets.
    started = time.monotonic()
    try:
        plan = build_plan(options)
        done = run_plan(plan)
    except IdiolectError as error:
        print(error, file=sys.stderr)
        return 2
    minutes = (time.monotonic() - started) / 60
    result = build_result(plan, done, options.json, minutes, format_command(options))
    write_atomic(options.json, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
