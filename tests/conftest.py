"""Settings of all tests.

Hypothesis does not time its examples: machines under load are slow. One thread: the tiny models are
faster so, and a machine's cores are left to others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile("idiolect", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("idiolect")
torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def keep_verdicts_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Prove bases anew in each test run: the user's cache may hold verdicts of other code."""
    folder: Path = tmp_path_factory.mktemp("verdicts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("idiolect.models.proof.verdict.get_cache_folder", lambda: folder)
        yield
