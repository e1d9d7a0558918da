"""A benchmark that cannot go on says so in a line, with a status."""

from __future__ import annotations

import pytest

from idiolect.errors import MissingError
from kit import cli


def raised(error: BaseException) -> int:
    raise error


def test_its_own_status() -> None:
    assert cli.run_to_exit_code(lambda: 3) == 3


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (MissingError("no such folder: x"), 1, "no such folder: x\n"),
        (KeyboardInterrupt(), 130, "stopped; the same command goes on"),
    ],
)
def test_what_stops_it_is_a_line(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run_to_exit_code(lambda: raised(error)) == status
    assert said in capsys.readouterr().err


def test_a_fault_of_the_program_is_shown_whole() -> None:
    with pytest.raises(ZeroDivisionError):
        cli.run_to_exit_code(lambda: raised(ZeroDivisionError()))
