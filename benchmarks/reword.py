"""Rebuilds the words of a benchmark's result from the raw numbers in its JSON.

    python benchmarks/reword.py docs/results/pieces.json docs/results/unlearning.json

Use it after a change to the titles, notes or targets of a benchmark, instead of a new run: nothing
is measured. Name, command and environment stay those of the run. It works for results that hold all
raw numbers: those of ``pieces.py`` and ``unlearning.py``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from idiolect.errors import UsageError
from idiolect.storage.files import write_atomic
from kit.cli import run_to_exit_code
from suites.pieces.result import build_result as build_pieces
from suites.unlearning.result import build_result as build_unlearning
from suites.unlearning.settings import Settings

Builder = Callable[[Mapping[str, Any], str, str], dict[str, Any]]
BUILDERS: Mapping[str, Builder] = {
    "pieces": build_pieces,
    "unlearning": lambda raw, name, command: build_unlearning(raw, name, command, Settings()),
}
RUN_KEYS = ("environment", "seeds")
"""Keys that describe the run and are copied from the old result."""


def reword_result(old: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result with the same raw numbers and with the words of the current code.

    Raises UsageError if the words of this benchmark cannot be rebuilt.
    """
    name = old["name"]
    if name not in BUILDERS:
        raise UsageError(f"{name}: its result lacks the raw numbers; run the benchmark again")
    new = BUILDERS[name](old["raw"], name, old["command"])
    return new | {key: old[key] for key in RUN_KEYS}


def reword_files(paths: list[Path]) -> int:
    """Rewrite each file; return the exit code."""
    for path in paths:
        result = reword_result(json.loads(path.read_text(encoding="utf-8")))
        write_atomic(path, json.dumps(result, indent=1, sort_keys=True) + "\n")
    return 0


def main() -> int:
    """Reword the files named on the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", help="results to rewrite")
    options = parser.parse_args()
    return run_to_exit_code(lambda: reword_files(options.files))


if __name__ == "__main__":
    sys.exit(main())
