"""The method's side of the protocol with the benchmark: JSON lines; needs only Python.

Only answers go to standard output; everything that libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO


@contextmanager
def open_answers() -> Iterator[TextIO]:
    """Yield the real standard output, and send all other prints to standard error."""
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as out:
        os.dup2(2, 1)
        yield out


def serve_orders(answer: Callable[[Any], Any], out: TextIO) -> None:
    """Print that the process is ready, then answer each line of standard input."""
    print(json.dumps({"ready": True}), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=out, flush=True)
