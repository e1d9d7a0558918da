"""Tries models whose loading ends without a process of its own, which takes seconds for each."""

from __future__ import annotations

from pathlib import Path

from idiolect.models.folder import probe
from idiolect.models.folder.probe import ProbeResult


def probe_known_model(folder: Path, kind: str, seconds: float) -> ProbeResult:
    """Try a model in this process, in place of ``probe._run_probe``; nothing is found if it cannot
    be loaded."""
    try:
        return probe.probe_model(folder, kind)
    except Exception:
        return ProbeResult()
