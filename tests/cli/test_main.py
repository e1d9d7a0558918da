"""The ``idiolect`` command line: commands, help, errors, and exit codes."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from idiolect import __version__
from idiolect.cli.commands import evaluate, import_data
from idiolect.cli.main import COMMANDS, main, print_error
from idiolect.errors import BusyError, DataError, UsageError

MAIN = "import sys; from idiolect.cli.main import main; sys.argv[0] = 'idiolect'; main()"


@pytest.fixture
def run_failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], Result]:
    """Returns a function that runs a command which raises an exception."""

    def run(error: BaseException) -> Result:
        @click.command("demo")
        def raise_error() -> None:
            raise error

        monkeypatch.setattr(
            importlib.import_module("idiolect.cli.commands.demo"), "demo_command", raise_error
        )
        return CliRunner().invoke(main, ["demo"])

    return run


def test_main_prints_error_as_one_line_on_stderr(
    run_failing: Callable[[BaseException], Result],
) -> None:
    result = run_failing(DataError("no such field 'x'", file="a.jsonl", line=3, hint="name it"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "error: a.jsonl:3: no such field 'x' (name it)\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("k: must be at least 1, got 0"), 2, "error: k: must be at least 1, got 0"),
        (BusyError("store: held by process 7"), 1, "error: store: held by process 7"),
        (click.UsageError("no"), 2, "error: no\ntry: idiolect demo --help"),
        (PermissionError(13, "Permission denied", "out"), 1, "error: out: Permission denied"),
        (
            ValueError("odd"),
            1,
            "error: ValueError: odd (unexpected; set IDIOLECT_DEBUG=1 to see the traceback)",
        ),
        (
            MemoryError(),
            1,
            "error: MemoryError (unexpected; set IDIOLECT_DEBUG=1 to see the traceback)",
        ),
        (KeyboardInterrupt(), 130, "\nstopped; run the same command again to resume"),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
    ],
)
def test_main_exits_with_code_and_line_of_error(
    run_failing: Callable[[BaseException], Result], error: BaseException, code: int, line: str
) -> None:
    result = run_failing(error)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.rstrip("\n") == line


def test_main_prints_traceback_with_debug_variable(
    run_failing: Callable[[BaseException], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDIOLECT_DEBUG", "1")
    assert "Traceback" in run_failing(DataError("broken")).stderr
    monkeypatch.setenv("IDIOLECT_DEBUG", "0")
    assert "Traceback" not in run_failing(DataError("broken")).stderr


def test_print_error_is_red_on_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with click.Context(main, color=True):
        print_error("broken")
    assert capsys.readouterr().err == "\x1b[31m\x1b[1merror:\x1b[0m broken\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["personalise"], "no command 'personalise'; did you mean personalize?"),
        (["zzz"], "no command 'zzz'; known: demo, import,"),
        (["demo", "--peple", "3"], "--people"),
        (["--jsn"], "No such option '--jsn'"),
        (["inspect"], "Missing argument 'DATA'"),
        (["personalize", "data"], "Missing option '--store'"),
        (["demo", "--people", "none"], "'none' is not a valid integer"),
        (["demo", "--people", "0"], "0 is not in the range"),
        (["export", "s", "--person", "p", "--out", "o", "--format", "gguf"], "'gguf'"),
    ],
)
def test_main_explains_wrong_usage(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: ") and message in error
    assert re.fullmatch(r"try: \S+( [\w-]+)? --help", hint)


def test_main_without_command_shows_help() -> None:
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


def test_main_prints_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"idiolect {__version__}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_command_help_has_summary_and_example(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None and command.name == name
    text = CliRunner().invoke(main, [name, "--help"]).stdout
    assert text.strip().splitlines()[2].strip() == COMMANDS[name][1]
    assert f"\n  $ idiolect {name}" in text
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            assert parameter.make_metavar(click.Context(command)).strip("[]") in text
        elif isinstance(parameter, click.Option):
            assert parameter.help


@pytest.mark.parametrize("name", COMMANDS)
def test_command_examples_parse(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "testers.txt").write_text("ann\nbob\n")
    command = main.get_command(click.Context(main), name)
    assert command is not None and command.help
    for line in re.findall(rf"^\$ idiolect {name}(.*)$", command.help, re.MULTILINE):
        command.make_context(name, shlex.split(line))


def test_import_data_formats_equal_registry() -> None:
    from idiolect.importers.registry import IMPORTERS

    assert import_data.FORMATS.split(", ") == list(IMPORTERS)


def test_evaluate_methods_equal_registry() -> None:
    from idiolect.evaluation.methods import select_methods

    names = [method.name for method in select_methods(evaluate.METHODS, k=1)]
    assert names == list(evaluate.METHODS)
    with pytest.raises(UsageError, match=re.escape(f"known: {', '.join(names)}")):
        select_methods(["no such method"], k=1)


def test_package_runs_as_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "idiolect", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: idiolect [OPTIONS]")


def test_completion_lists_commands() -> None:
    environment = {
        **os.environ,
        "_IDIOLECT_COMPLETE": "bash_complete",
        "COMP_WORDS": "idiolect per",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", MAIN], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout.split() == ["plain,personalize"]


def test_main_exits_with_130_on_ctrl_c(tmp_path: Path) -> None:
    fifo = tmp_path / "ids"
    os.mkfifo(fifo)  # reading blocks until the test writes, like long work
    running = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "idiolect",
            "personalize",
            "d",
            "--store",
            "s",
            "--people-file",
            fifo,
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts background jobs with Ctrl-C ignored, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    with fifo.open("w"):  # blocks until the command opens it for reading
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert (running.returncode, out) == (130, "")
    assert err.strip() == "stopped; run the same command again to resume"


def test_main_ignores_closed_pipe() -> None:
    command = f"{sys.executable} -m idiolect import --help | true"
    script = f"set -o pipefail; {command}; exit 0"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
