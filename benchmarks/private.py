"""Private training: how much of the gain on film ratings stays at each epsilon, and what leaks.

    python benchmarks/private.py --json docs/results/private.json [--work FOLDER]

Trains real people privately along a basis that other people's adapters make, and compares with
default training and with the basis alone. Attacks all of them: membership of single records, and
planted canaries. Finished parts are saved in ``--work``, so that an interrupted run can resume.
"""

from __future__ import annotations

import argparse
import json
import sys
import time

from idiolect.cli.progress import progress_listener
from idiolect.storage.files import write_atomic
from kit.cli import make_parser, run_to_exit_code
from suites.private.result import build_result
from suites.private.settings import QUICK, Sizes
from suites.private.study import PrivateStudy


def main() -> int:
    """Measure and write the result; return the exit code."""
    parser = make_parser(__doc__, "runs/private")
    parser.add_argument("--base", default="default", help="base model")
    parser.add_argument("--quick", action="store_true", help="sizes for tests")
    options = parser.parse_args()
    return run_to_exit_code(lambda: run_benchmark(options))


def run_benchmark(options: argparse.Namespace) -> int:
    """Run the benchmark and write the result as JSON."""
    started = time.monotonic()
    sizes = QUICK if options.quick else Sizes()
    with progress_listener() as listener:
        study = PrivateStudy(options.base, sizes, options.work, listener)
        try:
            raw = study.measure_all()
        finally:
            elapsed = study.cache.add_elapsed(time.monotonic() - started)
    command = f"python benchmarks/private.py --json docs/results/{options.json.name}"
    result = build_result({**raw, "elapsed": elapsed}, options.json.stem, command, sizes)
    write_atomic(options.json, json.dumps(result, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
