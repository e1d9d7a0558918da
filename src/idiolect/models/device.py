"""Selects the device and dtype of a model, automatically or by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, cast

import torch

from idiolect.errors import UsageError

DtypeName = Literal["auto", "bfloat16", "float32", "float64"]


def pick_device(name: str = "auto") -> torch.device:
    """Return CUDA if available, else MPS, else CPU; or the named device. Raises UsageError if the
    named device is not usable."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        # A valid name may still be a device that this machine lacks.
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} is not usable on this machine: {error}") from error
    return device


def pick_dtype(name: DtypeName, device: torch.device) -> torch.dtype:
    """Return the named dtype; ``auto`` is bfloat16 if the device computes in it, else float32."""
    if name != "auto":
        if name not in ("bfloat16", "float32", "float64"):
            raise UsageError(f"dtype {name!r} is not one of auto, bfloat16, float32, float64")
        return cast("torch.dtype", getattr(torch, name))
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return torch.bfloat16
    return torch.float32


def get_free_bytes(device: torch.device) -> int:
    """Return the free memory of a device in bytes, including what torch holds for reuse; half of
    the total if the system does not report it."""
    if device.type == "cuda":
        # torch reuses the memory that it holds but has not allocated.
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
