"""Personalized pieces: quality, cost and leakage of adapters assembled from other people's pieces.

    python benchmarks/pieces.py --prepare --work FOLDER --base rating=FOLDER --base reply=FOLDER \\
        [--only TASK] [--minutes 40]
    python benchmarks/pieces.py --json docs/results/pieces.json --work FOLDER \\
        --base rating=FOLDER --base reply=FOLDER

The first command trains sharers' adapters and gates and target users' own adapters, for at most
``--minutes``: repeat it until it exits with 0 (3: there is more to do). The second one measures.
The bases are those that ``benchmarks/quality.py`` or ``idiolect adapt`` wrote, adapted on other
people. ``--develop`` tries steps and rates of gate training on people with no other role.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from idiolect.cli.progress import progress_listener
from idiolect.errors import UsageError
from idiolect.events import Listener
from idiolect.models.load import load_base
from idiolect.storage.files import write_atomic
from kit.cli import run_to_exit_code
from kit.time_budget import TimeBudget, TimeIsUpError
from suites.pieces.prepare import estimate_minutes, prepare_task
from suites.pieces.result import build_result, measure_task
from suites.pieces.settings import QUICK, SETTINGS, Sizes
from suites.pieces.tune_gates import tune_gate_settings
from suites.pieces.workspace import Workspace

UNFINISHED_EXIT_CODE = 3
"""Exit code if there is more to prepare."""


def iter_workspaces(options: argparse.Namespace, listener: Listener) -> Iterator[Workspace]:
    """Yield the workspace of each task; raises UsageError if --base does not name its base."""
    named = dict(one.split("=", 1) for one in options.base if "=" in one)
    for task in options.only or SETTINGS:
        if task not in named:
            raise UsageError(f"--base: name the base adapted to {task}, as {task}=FOLDER")
        yield Workspace(
            name=task,
            base=load_base(named[task], dtype="float32" if options.quick else "auto"),
            folder=options.work / task,
            sizes=QUICK if options.quick else Sizes(),
            listener=listener,
        )


def run_preparation(options: argparse.Namespace) -> int:
    """Run stage A within the given minutes; return the exit code."""
    clock = TimeBudget(options.minutes)
    with progress_listener() as listener:
        for place in iter_workspaces(options, listener):
            print(estimate_minutes(place), file=sys.stderr, flush=True)
            try:
                (tune_gate_settings if options.develop else prepare_task)(place, clock)
            except TimeIsUpError:
                print("not finished: run the same command again", file=sys.stderr)
                return UNFINISHED_EXIT_CODE
    return 0


def run_measurement(options: argparse.Namespace) -> None:
    """Run stage B and write the result as JSON; raises MissingError if stage A is not finished."""
    raw: dict[str, Any] = {}
    with progress_listener() as listener:
        for place in iter_workspaces(options, listener):
            raw[place.name] = measure_task(place, grows=not raw)
    words = [f"--base {task}=FOLDER" for task in raw]
    if options.only:
        words += [f"--only {task}" for task in options.only]
    command = f"python benchmarks/pieces.py --json docs/results/{options.json.name} --work FOLDER"
    result = build_result(raw, options.json.stem, " ".join([command, *words]))
    write_atomic(options.json, json.dumps(result, indent=1, sort_keys=True) + "\n")


def main() -> int:
    """Prepare or measure; return the exit code (2: the command line is not valid)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="output file of the result")
    parser.add_argument("--work", type=Path, default=Path("runs/pieces"))
    parser.add_argument("--base", action="append", default=[], metavar="TASK=FOLDER")
    parser.add_argument("--only", choices=tuple(SETTINGS), action="append")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--develop", action="store_true")
    parser.add_argument("--minutes", type=float, default=40, help="minutes of one run of --prepare")
    parser.add_argument("--quick", action="store_true", help="sizes for tests")
    options = parser.parse_args()
    return run_to_exit_code(lambda: run_stage(options))


def run_stage(options: argparse.Namespace) -> int:
    """Prepare or measure; raises UsageError if the options ask for neither."""
    if options.prepare or options.develop:
        return run_preparation(options)
    if options.json is None:
        raise UsageError("give --prepare, --develop or --json FILE")
    run_measurement(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
