"""Shows what long work says while it runs: bars on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout

from idiolect.cli.progress_lines import LineProgress
from idiolect.events import Listener


@contextmanager
def progress_listener() -> Iterator[Listener]:
    """A listener for the work inside the block, which prints nothing on stdout."""
    with redirect_stdout_to_stderr():
        if sys.stderr.isatty():
            from idiolect.cli import progress_bars

            if progress_bars.is_supported():
                with progress_bars.draw_bars() as listener:
                    yield listener
                return
        yield LineProgress(sys.stderr)


def redirect_stdout_to_stderr() -> AbstractContextManager[object]:
    """Whatever a library prints inside the block goes to stderr: stdout is for the result."""
    return redirect_stdout(sys.stderr)
