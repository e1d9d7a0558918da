"""Settings of the tests of models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from idiolect.models.folder import probe
from idiolect.models.folder.probe import ProbeResult
from support.known_models import probe_known_model


@pytest.fixture(scope="session")
def run_probe() -> Callable[[Path, str, float], ProbeResult]:
    """The function that tries a model in a process of its own."""
    return probe._run_probe


@pytest.fixture(scope="session", autouse=True)
def probe_models_here(run_probe: object) -> Iterator[None]:
    """Try models in this process: many different ones are loaded, and a process takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_run_probe", probe_known_model)
        yield
