"""How a benchmark ends that cannot go on, or is stopped: in one line, with a status for it."""

from __future__ import annotations

import sys
from collections.abc import Callable

from idiolect.errors import IdiolectError

INTERRUPTED_EXIT_CODE = 130
"""Of a program that Ctrl-C stopped, as shells have it."""


def run_to_exit_code(run: Callable[[], int]) -> int:
    """The exit status of a run; an error of ours, or Ctrl-C, is told in a line."""
    try:
        return run()
    except IdiolectError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on with what is kept in --work", file=sys.stderr)
        return INTERRUPTED_EXIT_CODE
