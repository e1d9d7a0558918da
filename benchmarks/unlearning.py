"""Unlearning: harmful knowledge out of the default base and out of an adapter, and what that costs.

    python benchmarks/unlearning.py --json docs/results/unlearning.json [--work FOLDER]

SKU and its baselines on human-labelled harmful pairs with TruthfulQA as retain data, SKU without
each of its modules, and a real person's adapter that harmful records went into. The sets come in
packages (data-packages.txt). Every finished row is kept in --work, so a stopped run goes on; what
models answer is not kept.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from idiolect.cli.progress import progress_listener
from idiolect.models.base import load_base
from idiolect.models.encoder import MiniLM
from idiolect.storage.files import write_atomic
from kit.cli import run_to_exit_code
from suites.unlearning.models import UnlearningBenchmark
from suites.unlearning.result import build_result
from suites.unlearning.settings import Settings, make_quick_settings


def main() -> int:
    """Measure and write; 1 or 2 where that cannot be done."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the result goes")
    parser.add_argument("--work", type=Path, default=Path("runs/unlearning"))
    parser.add_argument("--base", default="default", help="another base than the default one")
    parser.add_argument("--quick", action="store_true", help="sizes for tests")
    options = parser.parse_args()
    return run_to_exit_code(lambda: run_benchmark(options))


def run_benchmark(options: argparse.Namespace) -> int:
    """Everything, written as JSON."""
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
