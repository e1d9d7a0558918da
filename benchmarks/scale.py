"""Scale: memory and speed of ``idiolect personalize`` with 10, 100 and 1,000 people, and a kill.

    python benchmarks/scale.py --json docs/results/scale.json

The people rate films (MovieLens-100k, which has 943 people, so the largest run uses all of them).
Each run is the command itself in a new process, with the default settings except ``--set`` and the
last 20 ratings of each person. Finished runs are saved in ``--work``, so that an interrupted
benchmark can resume. On a GPU: ``--device cuda --json docs/results/scale_cuda.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from idiolect.adapters.store.store import AdapterStore
from idiolect.evaluation.environment import describe_hardware, list_versions
from idiolect.history.dataset import read_dataset
from idiolect.importers.registry import import_histories
from idiolect.storage.files import write_atomic

PEOPLE = (10, 100, 1000)
LAST_ITEMS = 20
SEED = 0
MAX_MEMORY_GROWTH = 1.1
"""Flat memory: maximum ratio of the largest run's peak to that of the run before it."""
MAX_OPEN_SECONDS = 1.0
OPEN_REPEATS = 5
"""Number of times that a store is opened, each in a new process."""
WATCH_SECONDS = 0.1

OPEN_SCRIPT = """
import sys, time
from pathlib import Path
from idiolect.adapters.store.store import AdapterStore
started = time.perf_counter()
AdapterStore.open(Path(sys.argv[1]))
print(time.perf_counter() - started)
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Measurements of one run of the command, from outside the process."""

    people: int
    trained: int
    seconds: float
    """Duration of the whole process."""
    training_seconds: float
    """The same without start and loading."""
    tokens: int
    peak_bytes: int
    """Peak resident memory of the process and its children."""
    store_bytes: int
    open_seconds: float
    """Median over new processes, without their imports."""

    @property
    def people_per_hour(self) -> float:
        """People per hour, including start and loading."""
        return 3600 * self.trained / self.seconds


class ScaleBenchmark:
    """The dataset, the order in which people are drawn, and the settings of all runs."""

    def __init__(self, work: Path, *, last: int, device: str, changed: Sequence[str]) -> None:
        self.work, self.last, self.device, self.overrides = work, last, device, changed
        work.mkdir(parents=True, exist_ok=True)
        if not (work / "data").exists():
            import_histories(format="movielens").write_to_folder(work / "data", name="movielens")
        people = list(read_dataset(work / "data").people)
        self.sampled_people = random.Random(SEED).sample(people, len(people))

    def build_command(self, people: int, store: Path) -> list[str]:
        """Return the command that personalizes the first ``people`` people of the draw."""
        names = self.work / f"{people}.txt"
        names.write_text("\n".join(self.sampled_people[:people]) + "\n", encoding="utf-8")
        settings = [f"last_items={self.last}", *self.overrides]
        options = [word for setting in settings for word in ("--set", setting)]
        options += ["--device", self.device, "--json"]
        command = [sys.executable, "-m", "idiolect", "personalize", str(self.work / "data")]
        return [*command, "--store", str(store), "--people-file", str(names), *options]

    def measure_run(self, people: int) -> Run:
        """Return a run, from the work folder if it is finished there."""
        store, kept = self.work / f"store-{people}", self.work / f"run-{people}.json"
        if kept.is_file():
            return Run(**json.loads(kept.read_text(encoding="utf-8")))
        if store.exists():
            sys.exit(
                f"{store}: an interrupted run left this store, so it cannot be timed; remove it"
            )
        # Measure the whole process from outside, then the size of the store and its opening.
        done, seconds, peak = watch_command(self.build_command(people, store))
        assert done is not None
        run = Run(
            people=people,
            trained=len(done["trained"]),
            seconds=seconds,
            training_seconds=done["seconds"],
            tokens=done["tokens"],
            peak_bytes=peak,
            store_bytes=sum(p.stat().st_size for p in (store / "shards").iterdir()),
            open_seconds=statistics.median(time_opening(store) for _ in range(OPEN_REPEATS)),
        )
        write_atomic(kept, json.dumps(asdict(run), indent=1) + "\n")
        return run

    def measure_kill(self, people: int) -> dict[str, int]:
        """Repeat a run, kill it after half its steps, resume it, and count equal adapters."""
        whole, other = self.work / f"store-{people}", self.work / f"killed-{people}"
        steps = count_lines(whole / "metrics.jsonl") // 2
        command = self.build_command(people, other)
        if count_lines(other / "metrics.jsonl") < steps:
            watch_command(command, stop=lambda: count_lines(other / "metrics.jsonl") >= steps)
        # Resume after the kill, and compare with the run that was not killed.
        before = len(AdapterStore.open(other).people)
        watch_command(command)
        one, two = AdapterStore.open(whole), AdapterStore.open(other)
        equal = sum(has_same_adapter(one, two, person) for person in one.people)
        return {"people": len(one.people), "before": before, "equal": equal}


def watch_command(
    command: Sequence[str], stop: Callable[[], bool] = lambda: False
) -> tuple[dict[str, Any] | None, float, int]:
    """Run a command; return its JSON output, seconds and peak memory.

    If ``stop`` returns true, the process is killed and the output is ``None``.
    """
    started, peak = time.monotonic(), 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        seen = psutil.Process(process.pid)
        # Poll the memory, since the peak of children is not available afterwards.
        while process.poll() is None:
            peak = max(peak, measure_resident_bytes(seen))
            if stop():
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                return None, time.monotonic() - started, peak
            time.sleep(WATCH_SECONDS)
        assert process.stdout is not None
        output, seconds = process.stdout.read(), time.monotonic() - started
    if process.returncode:
        sys.exit(f"{' '.join(command)}: failed with {process.returncode}")
    return json.loads(output), seconds, peak


def measure_resident_bytes(process: psutil.Process) -> int:
    """Return the resident bytes of a process and its children; 0 if it has ended."""
    try:
        return sum(p.memory_info().rss for p in (process, *process.children(recursive=True)))
    except psutil.NoSuchProcess:
        return 0


def time_opening(store: Path) -> float:
    """Return the seconds to open a store in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", OPEN_SCRIPT, str(store)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def has_same_adapter(one: AdapterStore, other: AdapterStore, person: str) -> bool:
    """Return whether two stores hold the same record and adapter bytes of a person."""
    adapters = [store.get_adapter(person) for store in (one, other)]
    if one.get_record(person) != other.get_record(person) or None in adapters:
        return one.get_record(person) == other.get_record(person) and adapters == [None, None]
    first, second = (adapter.tensors() for adapter in adapters if adapter is not None)
    return all(tensor.equal(second[name]) for name, tensor in first.items())


def count_lines(path: Path) -> int:
    """Return the number of lines of a file; 0 if there is no file."""
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def build_targets(
    runs: Sequence[Run], wanted: int, killed: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Return each target with the value reached, and whether that meets it."""
    last, before = runs[-1], runs[-2]
    growth = last.peak_bytes / before.peak_bytes
    # MovieLens has fewer people than the target asks for.
    there = f" (MovieLens has {last.people})" if last.people < wanted else ""
    return [
        {
            "name": f"{wanted:,} people{there} personalized in one command",
            "target": "done",
            "reached": f"{last.people:,} people in {last.seconds / 60:.0f} min",
            "met": True,
        },
        {
            "name": f"Memory flat: peak with {last.people:,} people / with {before.people:,}",
            "target": f"at most {MAX_MEMORY_GROWTH:.2f} x",
            "reached": f"{growth:.2f} x",
            "met": growth <= MAX_MEMORY_GROWTH,
        },
        {
            "name": f"Opening a store of {last.people:,} people, seconds",
            "target": f"less than {MAX_OPEN_SECONDS:g}",
            "reached": f"{last.open_seconds:.3f}",
            "met": last.open_seconds < MAX_OPEN_SECONDS,
        },
        {
            "name": f"Run of {killed['people']:,} people killed with {killed['before']:,} done, "
            "then resumed",
            "target": "the same bytes of each adapter",
            "reached": f"{killed['equal']:,} of {killed['people']:,} equal",
            "met": killed["equal"] == killed["people"],
        },
    ]


def build_table(runs: Sequence[Run]) -> dict[str, Any]:
    """Return a table of the runs."""
    # People per hour includes start and loading; tokens per second does not.
    return {
        "title": "People, memory and speed",
        "columns": [
            "people",
            "trained",
            "people/hour",
            "tokens/s",
            "peak memory, GB",
            "store, MB",
            "opening, s",
        ],
        "rows": [
            [
                f"{run.people:,}",
                f"{run.trained:,}",
                f"{run.people_per_hour:,.0f}",
                f"{run.tokens / run.training_seconds:,.0f}",
                f"{run.peak_bytes / 1e9:.2f}",
                f"{run.store_bytes / 1e6:,.0f}",
                f"{run.open_seconds:.3f}",
            ]
            for run in runs
        ],
    }


def get_accelerator_name(device: str) -> str | None:
    """Return the name of the GPU, or ``None`` on another device."""
    if not device.startswith("cuda"):
        return None
    import torch

    return torch.cuda.get_device_name(device)


def _describe_overrides(changed: Sequence[str]) -> str:
    return f", except {', '.join(changed)}" if changed else ""


def main() -> None:
    """Run the benchmark and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="output file of the result")
    parser.add_argument("--work", type=Path, default=Path("runs/scale"))
    parser.add_argument(
        "--people", type=int, action="append", help="number of people of a run; repeatable"
    )
    parser.add_argument(
        "--last", type=int, default=LAST_ITEMS, help="last ratings of each person to use"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    bench = ScaleBenchmark(
        options.work, last=options.last, device=options.device, changed=options.set
    )
    wanted = sorted(options.people or PEOPLE)
    counts = sorted({min(people, len(bench.sampled_people)) for people in wanted})
    if len(counts) < 2:
        sys.exit("give --people at least twice: the largest run is compared with another")
    # Measure all runs, then repeat the second largest with a kill.
    runs = [bench.measure_run(people) for people in counts]
    killed = bench.measure_kill(counts[-2])
    if options.json is None:
        return
    result = {
        "name": options.json.stem,
        "what": f"Personalizing MovieLens people on their last {options.last} ratings, in one "
        f"command and a new process, with default settings{_describe_overrides(options.set)}",
        "command": f"python benchmarks/scale.py --json docs/results/{options.json.name}"
        + "".join(f" --set {setting}" for setting in options.set),
        "environment": {
            "hardware": describe_hardware(get_accelerator_name(options.device)),
            "versions": list_versions(),
        },
        "seeds": [SEED],
        "targets": build_targets(runs, wanted[-1], killed),
        "tables": [build_table(runs)],
        "last": options.last,
        "runs": [asdict(run) for run in runs],
    }
    write_atomic(options.json, json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
