"""Unlearning: removes harmful knowledge from the default base and from an adapter; its cost.

    python benchmarks/unlearning.py --json docs/results/unlearning.json [--work FOLDER]

Compares SKU and its baselines on harmful pairs labeled by people, with TruthfulQA as the retain
set; SKU without each of its modules; and a real person's adapter trained with harmful records. The
sets come from packages (data-packages.txt). Finished rows are saved in ``--work``, so that an
interrupted run can resume. The models' answers are not saved.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from idiolect.cli.progress import progress_listener
from idiolect.models.encoder import MiniLM
from idiolect.models.load import load_base
from idiolect.storage.files import write_atomic
from kit.cli import make_parser, run_to_exit_code
from suites.unlearning.models import UnlearningBenchmark
from suites.unlearning.result import build_result
from suites.unlearning.settings import Settings, make_quick_settings


def main() -> int:
    """Measure and write the result; return the exit code."""
    parser = make_parser(__doc__, "runs/unlearning")
    parser.add_argument("--base", default="default", help="base model")
    parser.add_argument("--quick", action="store_true", help="sizes for tests")
    options = parser.parse_args()
    return run_to_exit_code(lambda: run_benchmark(options))


def run_benchmark(options: argparse.Namespace) -> int:
    """Run the benchmark and write the result as JSON."""
    started = time.monotonic()
    settings = make_quick_settings() if options.quick else Settings()
    with progress_listener() as listener:
        base = load_base(options.base, dtype="float32" if options.quick else "auto")
        run = UnlearningBenchmark(base, settings, options.work, MiniLM(batch=16), listener)
        try:
            raw = run.measure_all()
        finally:
            elapsed = run.cache.add_elapsed(time.monotonic() - started)
    command = f"python benchmarks/unlearning.py --json docs/results/{options.json.name}"
    result = build_result({**raw, "elapsed": elapsed}, options.json.stem, command, settings)
    write_atomic(options.json, json.dumps(result, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
