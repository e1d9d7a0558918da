"""Runs the command line in this process and checks its exit code."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from idiolect.cli.main import main


def run_cli(*arguments: object, code: int = 0, input: str | bytes | None = None) -> Result:
    """Run ``idiolect`` with the arguments; raise AssertionError if the exit code differs."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=input)
    assert result.exit_code == code, result.stderr
    return result


def run_cli_json(*arguments: object) -> Any:
    """Run ``idiolect ... --json``; return the parsed result."""
    return json.loads(run_cli(*arguments, "--json").stdout)
