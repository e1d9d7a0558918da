"""Bases that people bring: the proof's time, quantization, families without fast ways, speed.

    python benchmarks/bases.py --json docs/results/bases.json [--work FOLDER]

Real people of the installed data packages on the bundled base model, and small random models. Each
part is saved in ``--work``, so that an interrupted run can resume. ``--quick`` is a short run.
"""

from __future__ import annotations

import argparse
import sys
import time
from functools import partial
from typing import Any, get_args

from idiolect.evaluation.environment import list_versions
from idiolect.models.folder.bundled import BUNDLED_NAME
from idiolect.models.quantization.kinds import QuantizeName
from kit.cli import make_parser, run_to_exit_code
from kit.result_file import write_result
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
    write_result(
        options.json,
        page="bases-measured",
        what="What it costs to bring a base model: the proof, quantization, and families without "
        "fast ways",
        script="bases",
        seeds=[SEED],
        minutes=cache.add_elapsed(time.monotonic() - began) / 60,
        targets=build_targets(raw),
        notes=NOTES,
        tables=build_tables(raw),
        raw=raw,
        people=people,
    )
    return 0


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = make_parser(__doc__, "runs/bases")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    return run_to_exit_code(lambda: run_benchmark(options))


if __name__ == "__main__":
    sys.exit(main())
