"""A load test of the game: simulated players against the site, both on this machine.

    python benchmarks/game_load.py --json docs/results/nyms_load.json [--players N] [--seconds S]

Runs twice, each time with a new site: once undisturbed, for the latencies, and once with the site
killed (SIGKILL) halfway and restarted. At the end compares each player's own record with what the
site reports, and the site's totals with its rounds: no round may be lost or counted twice. Site and
players share the processors of the process; `taskset -c 0,1` limits both to two.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from idiolect.evaluation.environment import describe_hardware
from suites.game import load_result
from suites.game import players as simulated
from suites.game.site import SiteProcess

HERE = Path(__file__).parent
REQUESTS = ("start", "question", "score", "result")


def run_players(site: SiteProcess, folder: Path, *, players: int, seconds: float) -> dict[str, Any]:
    """Run the players: they arrive evenly during one `PACE`, then ``seconds`` are measured.

    Returns the players' notes, the measured time window, and the CPU seconds of site and players.
    """
    notes = folder / "notes.jsonl"
    pace = simulated.PACE
    command = [
        *(sys.executable, "-m", "locust", "-f", str(HERE / "suites/game/players.py"), "--headless"),
        *("--host", site.address, "--users", str(players), "--spawn-rate", f"{players / pace}"),
        *("--run-time", f"{pace + seconds:.0f}s", "--stop-timeout", "30", "--only-summary"),
        *("--loglevel", "WARNING"),
    ]
    before, of_site = resource.getrusage(resource.RUSAGE_CHILDREN), site.measure_cpu_seconds()
    subprocess.run(
        command,
        # Locust exits with 1 if requests failed, which is expected while the site is down.
        check=False,
        env=os.environ | {"NYMS_NOTES": str(notes), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        timeout=seconds + 300,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # The window opens when all players have arrived.
    lines = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
    first = min(request[1] for line in lines for request in line["requests"])
    return {
        "lines": lines,
        "window": (first + pace, first + pace + seconds),
        "site_seconds": site.measure_cpu_seconds() - of_site,
        "players_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


def compare_tallies(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Compare the players' records with the site: rounds lost, changed or unknown, wrong totals."""
    lost = sum(1 for line in lines for name in line["known"] if name not in line["finished"])
    changed = sum(
        1
        for line in lines
        for name, points in line["known"].items()
        if line["finished"].get(name, points) != points
    )
    unknown = sum(1 for line in lines for name in line["finished"] if name not in line["known"])
    # The site's totals must equal the sums over its own rounds.
    sums = sum(
        1
        for line in lines
        if sum(t["rounds"] for t in line["totals"]) != len(line["finished"])
        or sum(t["points"] for t in line["totals"]) != sum(line["finished"].values())
    )
    return {
        "players": len(lines),
        "troubles": [line["trouble"] for line in lines if line["trouble"]],
        "rounds": sum(len(line["finished"]) for line in lines),
        "late": sum(line["late"] for line in lines),
        "lost": lost,
        "changed": changed,
        # Scored, but the player stopped before reading the result.
        "unread": unknown,
        "wrong_sums": sums,
    }


def summarize_requests(run: dict[str, Any], name: str) -> dict[str, float]:
    """Number, failures and latency percentiles of one kind of request within the time window."""
    start, end = run["window"]
    asked = [r for line in run["lines"] for r in line["requests"] if r[0] == name]
    asked = [(took, well) for _, began, took, well in asked if start <= began < end]
    good = [took for took, well in asked if well] or [float("nan")]
    p50, p95, p99 = np.percentile(good, [50, 95, 99])
    return {
        "requests": len(asked),
        "failures": sum(1 for _, well in asked if not well),
        "per_second": round(len([1 for _, well in asked if well]) / (end - start), 2),
        "p50_ms": round(float(p50), 1),
        "p95_ms": round(float(p95), 1),
        "p99_ms": round(float(p99), 1),
    }


def kill_and_restart(site: SiteProcess, after: float) -> threading.Thread:
    """Kill the site after ``after`` seconds and restart it at once, in a thread."""

    def kill_then_start() -> None:
        time.sleep(after)
        site.stop(signal.SIGKILL)
        site.start()

    thread = threading.Thread(target=kill_then_start)
    thread.start()
    return thread


def measure_game(players: int, seconds: float, workers: int) -> dict[str, Any]:
    """Run both tests; returns the result as JSON data."""
    # Other load on the machine would distort the latencies, so record it.
    busy = os.getloadavg()[0]
    runs: dict[str, dict[str, Any]] = {}
    for name in ("undisturbed", "killed"):
        with tempfile.TemporaryDirectory(prefix="nyms-load-") as made:
            folder = Path(made)
            with SiteProcess(folder / "site", workers=workers) as site:
                killer = None
                if name == "killed":
                    killer = kill_and_restart(site, simulated.PACE + seconds / 2)
                runs[name] = run_players(site, folder, players=players, seconds=seconds)
                if killer is not None:
                    killer.join()
    # Summarize, and compare with the targets.
    asked = {
        name: {request: summarize_requests(run, request) for request in REQUESTS}
        for name, run in runs.items()
    }
    tallies = {name: compare_tallies(run["lines"]) for name, run in runs.items()}
    return {
        "what": f"{players} simulated players at the same time, with site and players on the same "
        "processors: how fast the site scores rounds, and whether it loses any",
        "environment": {
            "hardware": describe_hardware() | {"cores": len(os.sched_getaffinity(0))},
            "versions": {name: version(name) for name in ("django", "uvicorn", "locust")},
            "load before": round(busy, 2),
        },
        "seeds": [0],
        "targets": load_result.build_targets(asked, tallies, players),
        "notes": load_result.build_notes(seconds, workers, tallies["killed"]),
        "tables": load_result.build_tables(asked["undisturbed"], tallies, runs["undisturbed"]),
        "runs": {name: {"requests": asked[name], "tally": tallies[name]} for name in runs},
    }


def main() -> None:
    """Run the load test and write the result."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--players", type=int, default=load_result.PLAYERS)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--json", type=Path)
    asked = options.parse_args()
    result = measure_game(asked.players, asked.seconds, asked.workers)
    out: Path = asked.json or Path("nyms_load.json")
    head = {
        "name": out.stem,
        "page": "nyms",
        "command": "python benchmarks/game_load.py --json docs/results/nyms_load.json",
    }
    text = json.dumps(head | result, indent=1, sort_keys=True) + "\n"
    if asked.json is not None:
        asked.json.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
