"""Turns errors and Ctrl-C into one line of text and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

from idiolect.errors import IdiolectError

INTERRUPTED_EXIT_CODE = 130
"""The exit code that shells use for a program stopped by Ctrl-C."""


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
