"""How many players the game bears: simulated players against the site, on this machine alone.

    python benchmarks/nyms_load.py [--players 200] [--seconds 60] [--json FILE]

Half-way the site is killed with SIGKILL and started again. In the end each player's own tally is
compared with what the site says of them, and the site's sums with its rounds: no round may be lost
or counted twice. The latency of scoring is given without the seconds in which the site was down.
Server and players share the processors this runs on: `taskset -c 0,1` makes it two.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nyms_site import Site

HERE = Path(__file__).parent
P95 = 300
"""Milliseconds that scoring may take for 95 of 100 rounds."""


def load(site: Site, folder: Path, *, players: int, seconds: float, name: str) -> list[Any]:
    """Run the players; locust's rows of figures, by request."""
    command = [
        *(sys.executable, "-m", "locust", "-f", str(HERE / "nyms_players.py"), "--headless"),
        *("--host", site.address, "--users", str(players), "--spawn-rate", str(players)),
        *("--run-time", f"{seconds:.0f}s", "--stop-timeout", "20", "--only-summary"),
        *("--csv", str(folder / name), "--loglevel", "WARNING"),
    ]
    tally = folder / f"{name}.jsonl"
    subprocess.run(
        command,
        check=False,  # requests that failed while the site was down make its status 1
        env=os.environ | {"NYMS_TALLY": str(tally), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        timeout=seconds + 180,
    )
    with (folder / f"{name}_stats.csv").open(encoding="utf-8", newline="") as rows:
        return list(csv.DictReader(rows))


def tallies(file: Path) -> list[dict[str, Any]]:
    """What the players wrote."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def compare(lines: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Rounds that players know, and how many of them the site lost, changed or invented."""
    lost = sum(1 for line in lines for name in line["known"] if name not in line["finished"])
    changed = sum(
        1
        for line in lines
        for name, points in line["known"].items()
        if line["finished"].get(name, points) != points
    )
    unknown = sum(1 for line in lines for name in line["finished"] if name not in line["known"])
    sums = sum(
        1
        for line in lines
        if sum(t["rounds"] for t in line["totals"]) != len(line["finished"])
        or sum(t["points"] for t in line["totals"]) != sum(line["finished"].values())
    )
    return {
        "players": len(lines),
        "rounds": sum(len(line["finished"]) for line in lines),
        "late": sum(line["late"] for line in lines),
        "lost": lost,
        "changed": changed,
        # Sent, scored, and the player stopped before they read the result.
        "unread": unknown,
        "wrong_sums": sums,
    }


def figures(rows: Sequence[dict[str, str]], name: str) -> dict[str, float]:
    """Locust's figures of one request, milliseconds."""
    row = next(row for row in rows if row["Name"] == name)
    return {
        "requests": int(row["Request Count"]),
        "failures": int(row["Failure Count"]),
        "per_second": round(float(row["Requests/s"]), 2),
        "p50_ms": float(row["50%"]),
        "p95_ms": float(row["95%"]),
        "p99_ms": float(row["99%"]),
    }


def kill_and_restart(site: Site, after: float) -> threading.Thread:
    """Kill the site after so many seconds, and start it again at once."""

    def act() -> None:
        time.sleep(after)
        site.end(signal.SIGKILL)
        site.start()

    thread = threading.Thread(target=act)
    thread.start()
    return thread


def main() -> None:
    """Measure twice: undisturbed for the latency, killed half-way for the tally."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--players", type=int, default=200)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--json", type=Path)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="nyms-load-") as made:
        folder = Path(made)
        with Site(folder / "site", workers=asked.workers) as site:
            how = {"players": asked.players, "seconds": asked.seconds}
            rows = load(site, folder, name="quiet", **how)
            killer = kill_and_restart(site, asked.seconds / 2)
            killed_rows = load(site, folder, name="killed", **how)
            killer.join()
            quiet, killed = (compare(tallies(folder / f"{n}.jsonl")) for n in ("quiet", "killed"))
    requests = {name: figures(rows, name) for name in ("start", "question", "score", "result")}
    wrong = sum(run[what] for run in (quiet, killed) for what in ("lost", "changed", "wrong_sums"))
    unheard = 2 * asked.players - quiet["players"] - killed["players"]
    rate, p95 = requests["score"]["per_second"], requests["score"]["p95_ms"]
    result = {
        "machine": {
            "processors": len(os.sched_getaffinity(0)),
            "python": platform.python_version(),
            "load_before": os.getloadavg()[0],
        },
        "settings": {**how, "workers": asked.workers, "database": "SQLite, WAL"},
        "quiet": {"tally": quiet, "requests": requests},
        "killed": {"tally": killed, "requests": {"score": figures(killed_rows, "score")}},
        "targets": [
            {"name": "rounds scored a second", "target": 20 * asked.players / 200,
             "reached": rate, "met": rate >= 0.9 * 20 * asked.players / 200},
            {"name": "p95 of scoring, ms", "target": P95, "reached": p95, "met": p95 < P95},
            {"name": "rounds lost, changed or summed wrongly, also over kill -9", "target": 0,
             "reached": wrong, "met": wrong == 0},
            {"name": "players whose tally is missing", "target": 0, "reached": unheard,
             "met": unheard == 0},
        ],
    }  # fmt: skip
    text = json.dumps(result, indent=1) + "\n"
    if asked.json is not None:
        asked.json.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
