"""A process's largest resident memory since a moment; needs nothing but Python and Linux."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

_CLEAR_REFS, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def reset_peak() -> bool:
    """Start counting from here; False where the system cannot (loading then counts too)."""
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def read_peak_mib() -> float:
    """The largest resident memory so far, in MiB."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 1024)
