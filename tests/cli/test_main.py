"""The command itself: verbs, endings, exit codes."""

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

END = "import sys; from idiolect.cli.main import main; sys.argv[0] = 'idiolect'; main()"


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], Result]:
    """Runs a verb that ends with an exception."""

    def run(error: BaseException) -> Result:
        @click.command("demo")
        def failing() -> None:
            raise error

        monkeypatch.setattr(
            importlib.import_module("idiolect.cli.commands.demo"), "command", failing
        )
        return CliRunner().invoke(main, ["demo"])

    return run


def test_an_error_is_one_line_on_stderr(ends: Callable[[BaseException], Result]) -> None:
    result = ends(DataError("no such field 'x'", file="a.jsonl", line=3, hint="name it"))
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
            "error: ValueError: odd (unexpected; IDIOLECT_DEBUG=1 shows where)",
        ),
        (
            MemoryError(),
            1,
            "error: MemoryError (unexpected; IDIOLECT_DEBUG=1 shows where)",
        ),
        (KeyboardInterrupt(), 130, "\nstopped; run the same command again to go on"),
        (BrokenPipeError(32, "Broken pipe"), 1, ""),
    ],
)
def test_every_end_has_its_code_and_line(
    ends: Callable[[BaseException], Result], error: BaseException, code: int, line: str
) -> None:
    result = ends(error)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.rstrip("\n") == line


def test_debugging_shows_where(
    ends: Callable[[BaseException], Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDIOLECT_DEBUG", "1")
    assert "Traceback" in ends(DataError("broken")).stderr
    monkeypatch.setenv("IDIOLECT_DEBUG", "0")
    assert "Traceback" not in ends(DataError("broken")).stderr


def test_errors_are_red_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with click.Context(main, color=True):
        print_error("broken")
    assert capsys.readouterr().err == "\x1b[31m\x1b[1merror:\x1b[0m broken\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
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
def test_wrong_calls_are_explained(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: ") and said in error
    assert re.fullmatch(r"try: \S+( [\w-]+)? --help", hint)


def test_without_a_verb_the_help_is_shown() -> None:
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


def test_the_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"idiolect {__version__}\n")


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    command = main.get_command(click.Context(main), verb)
    assert command is not None and command.name == verb
    text = CliRunner().invoke(main, [verb, "--help"]).stdout
    assert text.strip().splitlines()[2].strip() == COMMANDS[verb][1]
    assert f"\n  $ idiolect {verb}" in text
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            assert parameter.make_metavar(click.Context(command)).strip("[]") in text
        elif isinstance(parameter, click.Option):
            assert parameter.help


@pytest.mark.parametrize("verb", COMMANDS)
def test_the_examples_are_understood(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "testers.txt").write_text("ann\nbob\n")
    command = main.get_command(click.Context(main), verb)
    assert command is not None and command.help
    for line in re.findall(rf"^\$ idiolect {verb}(.*)$", command.help, re.MULTILINE):
        command.make_context(verb, shlex.split(line))


def test_formats_named_in_the_help_are_those_there_are() -> None:
    from idiolect.importers.registry import IMPORTERS

    assert import_data.FORMATS.split(", ") == list(IMPORTERS)


def test_methods_named_in_the_help_are_those_there_are() -> None:
    from idiolect.evaluation.methods import select_methods

    names = [method.name for method in select_methods(evaluate.METHODS, k=1)]
    assert names == list(evaluate.METHODS)
    with pytest.raises(UsageError, match=re.escape(f"known: {', '.join(names)}")):
        select_methods(["no such method"], k=1)


def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "idiolect", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: idiolect [OPTIONS]")


def test_completion_lists_verbs_and_options() -> None:
    environment = {
        **os.environ,
        "_IDIOLECT_COMPLETE": "bash_complete",
        "COMP_WORDS": "idiolect per",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", END], capture_output=True, text=True, check=False, env=environment
    )
    assert done.stdout.split() == ["plain,personalize"]


def test_ctrl_c_stops_with_130(tmp_path: Path) -> None:
    fifo = tmp_path / "ids"
    os.mkfifo(fifo)  # reading it waits until somebody writes, as long work would
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
    )
    with fifo.open("w"):  # opens only when the command reads
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert (running.returncode, out) == (130, "")
    assert err.strip() == "stopped; run the same command again to go on"


def test_a_reader_that_leaves_is_no_error() -> None:
    command = f"{sys.executable} -m idiolect import --help | true"
    script = f"set -o pipefail; {command}; exit 0"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
