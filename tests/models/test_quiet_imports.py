"""Libraries that are imported with the base models write nothing to the terminal."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest


@pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="needs torchao")
def test_import_of_models_silences_torchao() -> None:
    command = [sys.executable, "-c", "import idiolect.models, torchao"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
