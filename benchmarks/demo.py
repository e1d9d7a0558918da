"""The duration of the demo: the whole process, including the adaptation of its bases.

    python benchmarks/demo.py --json docs/results/demo.json

The target is 6 minutes on 2 cores after setup. The conversion of the base model to safetensors
(once per machine, about 20 s) counts if it has not been done yet.
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
    """Run the demo once in an empty folder and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="output file of the result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "demo"
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "idiolect", "demo", "--out", str(out)], check=True)
        seconds = time.monotonic() - started
        report = json.loads((out / "report.json").read_text())
    # Seconds by task and method, from the report of the demo.
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
        "what": "Duration of the demo, as a whole process",
        "command": "python benchmarks/demo.py --json docs/results/demo.json",
        "environment": {"hardware": describe_hardware(), "versions": list_versions()},
        "seeds": [0],
        "targets": [
            {
                "name": "Duration of the demo, seconds on 2 cores",
                "target": f"at most {MAX_SECONDS}",
                "reached": f"{seconds:.0f}",
                "met": seconds <= MAX_SECONDS,
            }
        ],
        "tables": [
            {
                "title": "Seconds by task and method, without task adaptation",
                "columns": ["task", "people", "queries", "method", "training", "answering"],
                "rows": rows,
            }
        ],
    }
    write_atomic(options.json, json.dumps(result, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
