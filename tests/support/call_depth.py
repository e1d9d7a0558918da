"""Counts the calls between a command and the optimizer step while the command runs."""

from __future__ import annotations

import inspect
from pathlib import Path
from unittest import mock

from click.testing import CliRunner

import idiolect
from idiolect.cli.main import main
from idiolect.history.write import write_dataset
from idiolect.training.engine.optimizer import StackedAdamW
from support.tiny_people import make_rater, save_tiny_base

PACKAGE = Path(idiolect.__file__).parent
Call = tuple[str, str]
"""A module, without the package's name, and the qualified name of a function in it."""


def list_package_calls() -> tuple[Call, ...]:
    """Return the package's functions on the stack, outermost first, without those of libraries."""
    calls: list[Call] = []
    for frame in reversed(inspect.stack()):
        file = Path(frame.filename)
        if file.is_relative_to(PACKAGE):
            module = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
            code = frame.frame.f_code
            calls.append((module, code.co_qualname))
    return tuple(calls)


def record_calls_to_optimizer(folder: Path) -> tuple[Call, ...]:
    """Run ``idiolect personalize`` on a tiny base; return the calls from command to optimizer step.

    The first call is the command's function, the last ``StackedAdamW.step_slot``. Raises
    AssertionError if the command fails or takes no optimizer step.
    """
    save_tiny_base(folder / "base")
    people = [make_rater("ann", 9)]
    write_dataset(folder / "data", people, task="rating", source="made up", splits={})
    stacks: list[tuple[Call, ...]] = []
    step = StackedAdamW.step_slot

    def watch_step(self: StackedAdamW, slot: int, rate: float) -> float:
        stacks.append(list_package_calls())
        return step(self, slot, rate)

    options = ["--store", str(folder / "store"), "--base", str(folder / "base"), "--no-gate"]
    with mock.patch.object(StackedAdamW, "step_slot", watch_step):
        result = CliRunner().invoke(main, ["personalize", str(folder / "data"), *options])
    assert result.exit_code == 0, result.output
    assert stacks, "no optimizer step was taken"
    calls = stacks[0]
    first = calls.index(("cli.commands.personalize", "personalize_command"))
    return (*calls[first:], ("training.engine.optimizer", step.__qualname__))
