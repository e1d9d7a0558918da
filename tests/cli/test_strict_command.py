"""Every option of every command that takes one value refuses a second one."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from idiolect.cli.main import COMMANDS, main
from support.run_cli import run_cli

pytestmark = pytest.mark.finding("repeated-person")


def list_commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield the words and the command of each command, those of groups included."""
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            for inner in command.list_commands(context):
                found = command.get_command(context, inner)
                assert found is not None
                yield (name, inner), found
        else:
            yield (name,), command


def list_single_options() -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the words of a command and each of its options that takes one value."""
    for words, command in list_commands():
        for option in command.params:
            if isinstance(option, click.Option) and not (option.multiple or option.is_flag):
                yield words, option.opts[0]


def test_command_refuses_each_repeated_single_option() -> None:
    tried = list(list_single_options())
    assert {("export",), ("predict",)} <= {w for w, o in tried if o == "--person"}
    for words, option in tried:
        result = run_cli(*words, option, "1", option, "2", code=2)
        assert f"error: {option} is given 2 times and takes one value" in result.stderr, words


def test_command_refuses_contradicting_switches() -> None:
    result = run_cli("personalize", "data", "--store", "s", "--afresh", "--continue", code=2)
    assert "--afresh / --continue is given 2 times" in result.stderr


def test_command_accepts_repeated_switch_and_repeatable_option() -> None:
    result = run_cli(
        *("mean", "no-store", "--out", "o", "--person", "a", "--person", "b", "--json", "--json"),
        code=1,
    )
    assert "no-store" in result.stderr
    assert "given" not in result.stderr


@pytest.mark.parametrize("option", ["--set", "--engine"])
def test_command_refuses_setting_given_twice(option: str) -> None:
    result = run_cli("personalize", "d", "--store", "s", option, "a=1", option, "a=2", code=2)
    assert result.stderr.startswith(f"error: {option}: a is given 2 times")


@pytest.mark.parametrize(
    "words",
    [
        ("personalize", "d", "--store", "s", "--epochs", "2", "--set", "train.epochs=1"),
        ("assemble", "d", "--pool", "p", "--out", "o", "--top-k", "2", "--set", "assemble.top_k=3"),
    ],
)
def test_command_refuses_setting_that_contradicts_its_option(words: tuple[str, ...]) -> None:
    result = run_cli(*words, code=2)
    name, _, value = words[-1].partition("=")
    assert f"--set: {name} is {value}, but the option for it says 2" in result.stderr


def test_command_accepts_setting_that_repeats_its_option() -> None:
    words = ("personalize", "d", "--store", "s", "--epochs", "2", "--set", "train.epochs=2")
    assert "--set" not in run_cli(*words, code=1).stderr
