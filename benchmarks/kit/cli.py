"""The command line of benchmarks: their options, and one line of text and an exit code for errors
and Ctrl-C."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from idiolect.errors import IdiolectError

INTERRUPTED_EXIT_CODE = 130
"""The exit code that shells use for a program stopped by Ctrl-C."""


def make_parser(text: str | None, work: str) -> argparse.ArgumentParser:
    """Return a parser with the options ``--json`` and ``--work``, described by the first line of a
    benchmark's docstring."""
    parser = argparse.ArgumentParser(description=(text or "").splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="output file of the result")
    parser.add_argument("--work", type=Path, default=Path(work), help="folder of finished parts")
    return parser


def run_to_exit_code(run: Callable[[], int]) -> int:
    """Run, and return the exit code; prints an Idiolect error or an interruption in one line."""
    try:
        return run()
    except IdiolectError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command resumes from the results in --work", file=sys.stderr)
        return INTERRUPTED_EXIT_CODE
