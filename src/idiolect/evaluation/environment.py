"""Describes the machine and the package versions for a report, without loading torch.

The description has no host name, user name or path, because reports are published.
"""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = (
    "idiolect",
    "torch",
    "transformers",
    "peft",
    "safetensors",
    "tokenizers",
    "numpy",
    "scipy",
    "bm25s",
    "rouge-score",
)


def describe_hardware(accelerator: str | None = None) -> dict[str, Any]:
    """Return CPU model, number of cores, memory in GiB, and system.

    The caller names the ``accelerator``, because this module does not load torch.
    """
    return {
        "cpu": _read_cpu_model(),
        "cores": os.cpu_count() or 1,
        "memory_gib": _read_memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "accelerator": accelerator,
    }


def list_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect the results, if installed."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _read_cpu_model() -> str:
    # Linux
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    # macOS
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        return done.stdout.strip()
    return platform.processor() or platform.machine() or "unknown"


def _read_memory_gib() -> float | None:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    return round(total / 2**30, 1)
