"""Shows what long work says while it runs: bars on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout

from idiolect.cli.progress_lines import Lines
from idiolect.events import Listener


@contextmanager
def watching() -> Iterator[Listener]:
    """A listener for the work inside the block, which prints nothing on stdout."""
    with stdout_kept():
        if sys.stderr.isatty():
            from idiolect.cli import progress_bars

            if progress_bars.possible():
                with progress_bars.drawn() as listener:
                    yield listener
                return
        yield Lines(sys.stderr)


def stdout_kept() -> AbstractContextManager[object]:
    """Whatever a library prints inside the block goes to stderr: stdout is for the result."""
    return redirect_stdout(sys.stderr)
