"""The leakage audit: its power on adapters that memorized a secret, its false alarms, its time.

    python benchmarks/audit.py --json docs/results/audit.json [--work FOLDER]

Real people of the installed data packages on the bundled base model. 20 people repeat a secret and
are trained longer; 20 others who chat and 20 who rate films are trained with the defaults.
Each group of five people is saved in ``--work``, so that an interrupted run can resume. About 15
minutes on two quiet cores. ``--people 5`` is a short run; ``--develop`` uses the people with whose
data thresholds were chosen.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from functools import partial
from typing import Any

from idiolect.models.load import load_base
from kit.cli import make_parser, run_to_exit_code
from kit.result_file import write_result
from kit.resumable import ResultCache
from suites.audit.measure import GROUP_SIZE, TRAINING, measure_group, measure_longer
from suites.audit.people import (
    CONTEXT_WORDS,
    COPIES,
    SECRETS,
    SEED,
    TRAINED_ITEMS,
    UNSEEN_ITEMS,
)
from suites.audit.result import NOTES, build_tables, build_targets

PEOPLE = len(SECRETS)


def run_benchmark(options: argparse.Namespace) -> int:
    """Measure all groups that are not saved yet, and write the result; return 0."""
    base = load_base()
    purpose = "development" if options.develop else "tested"
    sizes = [TRAINED_ITEMS, UNSEEN_ITEMS, COPIES, CONTEXT_WORDS]
    training = {kind: asdict(config) for kind, config in TRAINING.items()}
    settings = [base.identity, options.people, purpose, training, sizes]
    cache = ResultCache(options.work, settings)
    groups: dict[str, list[dict[str, Any]]] = {}
    began = time.monotonic()
    for kind in TRAINING:
        groups[kind] = []
        for number in range(-(-options.people // GROUP_SIZE)):
            place = {"group": number, "people": options.people, "purpose": purpose}
            found = cache.get_or_make(
                f"{kind}-{number}", partial(measure_group, base, kind, **place)
            )
            if kind == "secret":
                longer = partial(measure_longer, base, found["rows"], **place)
                found |= cache.get_or_make(f"{kind}-{number}-longer", longer)
            groups[kind].append(found)
            leaking = sum(row["verdict"] == "leaks" for row in found["rows"])
            print(
                f"{kind} {number}: {leaking} of {len(found['rows'])} refused, "
                f"{found['seconds']:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    write_result(
        options.json,
        page="audit",
        what="The leakage audit before sharing: what it catches, what it refuses needlessly, and "
        "what it costs",
        script="audit",
        seeds=[SEED],
        minutes=cache.add_elapsed(time.monotonic() - began) / 60,
        targets=build_targets(groups),
        notes=NOTES,
        tables=build_tables(groups),
        raw=groups,
    )
    return 0


def main() -> int:
    """Run the benchmark; return the exit code."""
    parser = make_parser(__doc__, "runs/audit")
    parser.add_argument("--people", type=int, default=PEOPLE, help="people of each kind")
    parser.add_argument("--develop", action="store_true")
    options = parser.parse_args()
    return run_to_exit_code(lambda: run_benchmark(options))


if __name__ == "__main__":
    sys.exit(main())
