"""Shows the progress of long work on stderr: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stdout

from idiolect.cli.progress_lines import LineProgress
from idiolect.events import Listener


@contextmanager
def progress_listener() -> Iterator[Listener]:
    """Yield a listener that shows progress on stderr; stdout goes to stderr inside the block."""
    with redirect_stdout_to_stderr():
        if sys.stderr.isatty():
            from idiolect.cli import progress_bars  # imports rich

            # A dumb terminal cannot redraw lines, so it gets plain lines, too.
            if progress_bars.is_supported():
                with progress_bars.draw_bars() as listener:
                    yield listener
                return
        yield LineProgress(sys.stderr)


def redirect_stdout_to_stderr() -> AbstractContextManager[object]:
    """Send what libraries print inside the block to stderr: stdout is for the result."""
    return redirect_stdout(sys.stderr)
