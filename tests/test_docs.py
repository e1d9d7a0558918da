"""The hand-written pages name only files, packages, commands and options that exist."""

from __future__ import annotations

import importlib
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "idiolect"
PAGES = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/bases.md",
    "docs/files.md",
    "docs/invariants.md",
    "docs/site.md",
)
PATH = re.compile(r"`((?:tests|src|docs|benchmarks|examples|\.ci)/[\w./-]*[\w/])`")
MODULE = re.compile(r"`([a-z][\w/]*/[\w/]*\.py)`")
OUTSIDE = ("benchmarks/", "docs/", "examples/", "tests/")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_page_names_existing_files(page: str) -> None:
    text, folder = read(page), (ROOT / page).parent
    paths = {ROOT / name for name in PATH.findall(text) if "NAME" not in name}
    links = {folder / name for name in LINK.findall(text)}
    assert [str(path) for path in sorted(paths | links) if not path.exists()] == []


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "docs/invariants.md"])
def test_page_names_existing_modules(page: str) -> None:
    modules = {name for name in MODULE.findall(read(page)) if not name.startswith(OUTSIDE)}
    assert modules
    assert [name for name in sorted(modules) if not (PACKAGE / name).exists()] == []


def test_architecture_table_equals_import_contract() -> None:
    contracts = tomllib.loads(read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers: list[str] = next(c for c in contracts if c["type"] == "layers")["layers"]
    floors = [set(re.findall(r"\w+", layer)) for layer in reversed(layers)]
    assert floors.pop() == {"__main__"}
    rows = re.findall(r"^\| (\d+) \| `(\w+)(?:/|\.py)` \|", read("ARCHITECTURE.md"), re.MULTILINE)
    assert [int(number) for number, _ in rows] == sorted((int(n) for n, _ in rows), reverse=True)
    assert sorted((int(number), name) for number, name in rows) == sorted(
        (number, name) for number, floor in enumerate(floors) for name in floor if exists(name)
    )


def exists(name: str) -> bool:
    """Whether the package has this module or folder; optional layers may be missing."""
    return (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()


def test_architecture_fits_on_one_page() -> None:
    assert len(read("ARCHITECTURE.md").splitlines()) <= 130


def test_pages_name_existing_make_targets() -> None:
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:`|\$ )make ([a-z]+)", read(page))}
    assert {"demo", "test"} <= named <= targets


def readme_commands() -> list[str]:
    lines = re.findall(r"^\$ (idiolect .*?) *(?:  #.*)?$", read("README.md"), re.MULTILINE)
    inline = re.findall(r"`(idiolect [^`|]*--[^`|]*)`", read("README.md"))
    return [*lines, *inline]


@pytest.mark.parametrize("line", readme_commands())
def test_readme_command_parses(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    main: object = importlib.import_module("idiolect.cli.main").main
    assert isinstance(main, click.Group)
    monkeypatch.chdir(tmp_path)
    for folder in ("data/me", "mine"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "chats.jsonl").touch()
    _, name, *arguments = shlex.split(line)
    top = click.Context(main, **main.context_settings)  # click keeps help options made under it
    command = main.get_command(top, name)
    assert command is not None, f"no command {name}"
    command.make_context(name, arguments, parent=top)  # parses; runs nothing
