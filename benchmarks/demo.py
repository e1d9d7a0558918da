"""How long the demo takes: the whole process, with its adapted bases made anew.

    python benchmarks/demo.py --json docs/results/demo.json

The target is 6 minutes on 2 cores after set-up. The base model's conversion to safetensors (once in
the life of a machine, some 20 s) counts where it has not been done yet.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from idiolect.evaluation.environment import describe_hardware, list_versions
from idiolect.storage.files import write_atomic

MAX_SECONDS = 360


def main() -> None:
    """Run the demo once in an empty folder and write what it took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "idiolect", "demo", "--out", str(out)], check=True)
        seconds = time.monotonic() - started
        report = json.loads((out / "report.json").read_text())
    rows = [
        [
            task["title"],
            f"{task['people']}",
            f"{task['queries']}",
            method["method"],
            f"{method['train_seconds']:.0f}",
            f"{method['predict_seconds']:.0f}",
        ]
        for task in report["tasks"]
        for method in task["methods"]
    ]
    result = {
        "name": "demo",
        "what": "Seconds of the demo, as a whole process",
        "command": "python benchmarks/demo.py --json docs/results/demo.json",
        "environment": {"hardware": describe_hardware(), "versions": list_versions()},
        "seeds": [0],
        "targets": [
            {
                "name": "Demo, seconds on 2 cores",
                "target": f"at most {MAX_SECONDS}",
                "reached": f"{seconds:.0f}",
                "met": seconds <= MAX_SECONDS,
            }
        ],
        "tables": [
            {
                "title": "Where the time goes, in seconds (task adaptation is not in it)",
                "columns": ["task", "people", "queries", "method", "training", "answering"],
                "rows": rows,
            }
        ],
    }
    write_atomic(options.json, json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
