"""Importing the package and asking for help never load the heavy libraries."""

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


def loaded_after(code: str) -> tuple[list[str], str]:
    """Which heavy libraries a fresh process has loaded at its end, and what it printed."""
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
def test_importing_the_package_loads_nothing_heavy(code: str) -> None:
    assert loaded_after(code) == ([], "")


VERBS = (
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
    heavy, printed = loaded_after(HELP.format(arguments=arguments))
    assert heavy == []
    assert printed


def test_help_names_every_verb() -> None:
    _, printed = loaded_after(HELP.format(arguments=["--help"]))
    assert [verb for verb in VERBS if f"\n  {verb} " not in printed] == []


def test_the_check_itself_notices() -> None:
    assert loaded_after("import sklearn")[0] == ["sklearn"]
