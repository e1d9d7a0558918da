"""The written pages name only what is there: files, packages, commands and their options."""

from __future__ import annotations

import importlib
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
PATH = re.compile(r"`((?:tests|src|docs|benchmarks|\.ci)/[\w./-]*[\w/])`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page: str) -> None:
    text = read(page)
    named = {*PATH.findall(text), *LINK.findall(text)}
    patterns = {name for name in named if "NAME" in name}
    assert [name for name in sorted(named - patterns) if not (ROOT / name).exists()] == []


def test_the_floors_table_names_every_package() -> None:
    rows = re.findall(r"^\| \d+ \| (.*?) \|", read("ARCHITECTURE.md"), re.MULTILINE)
    named = {name.strip("/").removesuffix(".py") for row in rows for name in row.split("`")[1::2]}
    source = ROOT / "src" / "idiolect"
    there = {p.stem for p in source.iterdir() if p.is_dir() or p.suffix == ".py"}
    assert there - {"__init__", "__main__", "__pycache__"} == named


def test_make_targets_named_in_the_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:`|\$ )make ([a-z]+)", read(page))}
    assert {"demo", "test"} <= named <= targets


def readme_commands() -> list[str]:
    lines = re.findall(r"^\$ (idiolect .*?) *(?:  #.*)?$", read("README.md"), re.MULTILINE)
    inline = re.findall(r"`(idiolect [^`|]*--[^`|]*)`", read("README.md"))
    return [*lines, *inline]


@pytest.mark.parametrize("line", readme_commands())
def test_commands_in_the_readme_are_understood(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main: object = importlib.import_module("idiolect.cli.main").main
    assert isinstance(main, click.Group)
    monkeypatch.chdir(tmp_path)
    for folder in ("data/me", "mine"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "chats.jsonl").touch()
    _, verb, *arguments = shlex.split(line)
    top = click.Context(main, **main.context_settings)  # click keeps help options made under it
    command = main.get_command(top, verb)
    assert command is not None, f"no verb {verb}"
    command.make_context(verb, arguments, parent=top)  # parses; runs nothing


def test_everything_that_is_needed_is_pinned() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[\[<>=~! ]", line)[0].lower().replace("_", "-") for line in needed}
    lines = [line for line in read("constraints.txt").splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    assert names - {line.partition("==")[0].lower() for line in lines} == set()
