"""``docs/cli.md`` equals the help pages of the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.build import cli as cli_page
from idiolect.cli.main import COMMANDS


def test_cli_page_is_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli_page.main(["--check"]) == 0, capsys.readouterr().err


def test_build_page_contains_every_command() -> None:
    text = cli_page.build_page()
    assert [name for name in COMMANDS if f"\n## `idiolect {name}`\n" not in text] == []
    assert "\nrate = " in text


def test_main_check_detects_missing_and_changed_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli_page, "PAGE", tmp_path / "cli.md")
    assert cli_page.main(["--check"]) == 1
    assert cli_page.main([]) == 0
    assert cli_page.main(["--check"]) == 0
    with (tmp_path / "cli.md").open("a") as page:
        page.write("more\n")
    assert cli_page.main(["--check"]) == 1
    assert "run: make docs" in capsys.readouterr().err
