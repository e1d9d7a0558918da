"""Bases that people bring: the proof's time, quantization, families without fast ways, speed.

    python benchmarks/bases.py --json docs/results/bases.json [--work FOLDER]

Real people of the installed data packages on the bundled base model, and small random models. Each
part is saved in ``--work``, so that an interrupted run can resume. ``--quick`` is a short run.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, get_args

from idiolect.evaluation.environment import describe_hardware, list_versions
from idiolect.models.folder.bundled import BUNDLED_NAME
from idiolect.models.quantization.kinds import QuantizeName
from idiolect.storage.files import write_atomic
from kit.cli import run_to_exit_code
from kit.resumable import ResultCache
from suites.audit.people import SEED
from suites.bases import measure
from suites.bases.result import NOTES, build_tables, build_targets


def run_benchmark(options: argparse.Namespace) -> int:
    """Measure all parts that are not saved yet, and write the result; return 0."""
    people, repeats = (2, 1) if options.quick else (8, 5)
    versions = list_versions()
    cache = ResultCache(options.work, [BUNDLED_NAME, people, repeats, versions])
    options.work.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    raw: dict[str, Any] = {
        "proof": cache.get_or_make("proof", partial(measure.measure_proof, repeats)),
        "quantized": {
            kind: cache.get_or_make(
                f"quantized-{kind}", partial(measure.measure_quantized, kind, people)
            )
            for kind in get_args(QuantizeName)
        },
        "families": {
            name: cache.get_or_make(
                f"family-{name.split()[0]}",
                partial(measure.measure_family, name, people, repeats),
            )
            for name in measure.FAMILIES
        },
        "speed": cache.get_or_make(
            "speed", partial(measure.measure_speed, repeats, people, options.work)
        ),
    }
    result = {
        "name": options.json.stem,
        "page": "bases-measured",
        "what": "What it costs to bring a base model: the proof, quantization, and families "
        "without fast ways",
        "command": f"python benchmarks/bases.py --json docs/results/{options.json.name}",
        "environment": {
            "hardware": describe_hardware(),
            "versions": versions,
            "minutes": round(cache.add_elapsed(time.monotonic() - began) / 60, 1),
            "people": people,
        },
        "seeds": [SEED],
        "targets": build_targets(raw),
        "notes": NOTES,
        "tables": list(build_tables(raw)),
        "raw": raw,
    }
    write_atomic(options.json, json.dumps(result, indent=1, sort_keys=True) + "\n")
    return 0


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="output file of the result")
    parser.add_argument("--work", type=Path, default=Path("runs/bases"))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    return run_to_exit_code(lambda: run_benchmark(options))


if __name__ == "__main__":
    sys.exit(main())
