"""Puts results on stdout: as JSON, or as tables; knows no particular result."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from idiolect.cli.formatting import strip_control_characters

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 120
"""Columns of a table that does not go to a terminal."""


def print_json(result: object) -> None:
    """One JSON document; paths become texts, dataclasses objects."""
    click.echo(json.dumps(to_json_value(result), indent=2, ensure_ascii=False, allow_nan=False))


def to_json_value(value: Any) -> Any:
    """The value as JSON knows it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json_value(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_json_value(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [to_json_value(v) for v in cast("Sequence[Any]", value)]
    return str(value) if isinstance(value, Path) else value


def make_console() -> Console:
    """Stdout for tables; a pipe gets a fixed width instead of 80 columns."""
    from rich.console import Console

    plain_console = Console(highlight=False, emoji=False, markup=False)
    if not plain_console.is_terminal:
        plain_console.width = PIPE_WIDTH
    return plain_console


def print_pairs(pairs: Mapping[str, str]) -> None:
    """Names and values, aligned."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        click.echo(f"{name:<{width}}  {strip_control_characters(value)}")


def print_text(text: str) -> None:
    """A paragraph, broken between words on a terminal and left alone in a pipe."""
    screen = make_console()
    screen.print(strip_control_characters(text), soft_wrap=not screen.is_terminal)


def print_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    numbers: Sequence[int] = (),
    styles: Sequence[str] = (),
) -> None:
    """A table; ``numbers`` are the columns set to the right, ``styles`` one a row or none."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, heading in enumerate(headings):
        right = place in numbers
        table.add_column(heading, justify="right" if right else "left", no_wrap=right)
    for place, row in enumerate(rows):
        style = styles[place] if styles else None
        table.add_row(*(Text(strip_control_characters(cell)) for cell in row), style=style)
    screen = make_console()
    if title:
        screen.print(Text(f"\n{strip_control_characters(title)}", style="bold"))
    screen.print(table)
