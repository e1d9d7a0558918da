"""On what a report was made: the machine and the versions, without loading torch.

Names no host, user or path: a report is published.
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
    """CPU model, cores, memory (GiB), system; ``accelerator`` is named by the caller."""
    return {
        "cpu": _read_cpu_model(),
        "cores": os.cpu_count() or 1,
        "memory_gib": _read_memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "accelerator": accelerator,
    }


def list_versions() -> dict[str, str]:
    """Python and the packages that numbers depend on; absent packages are left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _read_cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return line.split(":", 1)[1].strip()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        return told.stdout.strip()
    return platform.processor() or platform.machine() or "unknown"


def _read_memory_gib() -> float | None:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    return round(total / 2**30, 1)
