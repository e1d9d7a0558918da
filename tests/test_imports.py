"""Importing the package and showing help do not import the heavy libraries."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    *("torch", "transformers", "peft", "accelerate", "pyarrow", "sklearn", "matplotlib", "ray"),
    *("django", "uvicorn"),
)

IMPORT = "import idiolect"
HELP = """
from idiolect.cli.main import main
sys.argv = ["idiolect", *{arguments}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def run_and_list_heavy(code: str) -> tuple[list[str], str]:
    """Run code in a fresh process; return the heavy libraries it imported, and its stdout."""
    report = f"\nprint(json.dumps([n for n in {HEAVY!r} if n in sys.modules]), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", f"import json, sys\n{code}{report}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stderr.splitlines()[-1]), done.stdout


@pytest.mark.parametrize("code", [IMPORT, "import idiolect.api"])
def test_package_import_loads_nothing_heavy(code: str) -> None:
    assert run_and_list_heavy(code) == ([], "")


COMMANDS = (
    "demo",
    "import",
    "inspect",
    "adapt",
    "profile",
    "personalize",
    "merge",
    "consent",
    "share",
    "pool",
    "assemble",
    "withdraw",
    "mean",
    "predict",
    "evaluate",
    "export",
    "import-adapter",
    "unlearn",
)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["personalize", "--help"], ["play", "--help"], ["nyms", "--help"]]
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    heavy, printed = run_and_list_heavy(HELP.format(arguments=arguments))
    assert heavy == []
    assert printed


def test_help_lists_every_command() -> None:
    _, printed = run_and_list_heavy(HELP.format(arguments=["--help"]))
    assert [name for name in COMMANDS if f"\n  {name} " not in printed] == []


def test_run_and_list_heavy_finds_heavy_import() -> None:
    assert run_and_list_heavy("import sklearn")[0] == ["sklearn"]
