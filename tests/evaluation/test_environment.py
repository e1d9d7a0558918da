"""The description of machine and package versions in reports."""

from __future__ import annotations

import getpass
import json
import platform
import socket
import subprocess
import sys

from idiolect.evaluation.environment import describe_hardware, list_versions


def test_describe_hardware_has_no_host_or_user_name() -> None:
    found = describe_hardware("one accelerator")
    assert found["cpu"] and found["cores"] >= 1
    assert found["memory_gib"] is None or found["memory_gib"] > 0
    assert found["accelerator"] == "one accelerator"
    assert describe_hardware()["accelerator"] is None
    text = json.dumps(found).split('"')
    assert socket.gethostname() not in text and getpass.getuser() not in text


def test_list_versions_returns_installed_versions() -> None:
    found = list_versions()
    assert found["python"] == platform.python_version()
    assert {"idiolect", "torch", "numpy"} <= found.keys()


def test_report_modules_load_without_torch() -> None:
    code = (
        "import sys; import idiolect.evaluation.environment as e; "
        "import idiolect.evaluation.reports.report, idiolect.evaluation.reports.table; "
        "e.list_versions(); e.describe_hardware(); print([m for m in ('torch', 'transformers', "
        "'matplotlib.pyplot') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
