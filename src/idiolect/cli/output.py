"""Prints results on stdout, as JSON or as tables."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from idiolect.cli.formatting import strip_control_characters

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 120
"""Width of tables, in columns, if stdout is not a terminal."""


def print_json(result: object) -> None:
    """Print one JSON document; see ``to_json_value`` for the conversions."""
    click.echo(json.dumps(to_json_value(result), indent=2, ensure_ascii=False, allow_nan=False))


def to_json_value(value: Any) -> Any:
    """Convert a result for JSON: dataclasses become objects, tuples lists, and paths strings."""
    # Not `dataclasses.asdict`: it would copy values and leave paths as they are.
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json_value(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_json_value(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [to_json_value(v) for v in cast("Sequence[Any]", value)]
    if isinstance(value, (str, Path)):
        # Names of files can contain bytes that are not text.
        return os.fsencode(value).decode("utf-8", errors="backslashreplace")
    return value


def make_console() -> Console:
    """Return a rich console on stdout; if stdout is no terminal, its width is ``PIPE_WIDTH``."""
    from rich.console import Console

    console = Console(highlight=False, emoji=False, markup=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def print_pairs(pairs: Mapping[str, str]) -> None:
    """Print names and values in two aligned columns."""
    # Values may contain text of people, e.g. ids with control characters.
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        click.echo(f"{name:<{width}}  {strip_control_characters(value)}")


def print_text(text: str) -> None:
    """Print a paragraph; wrap it between words only on a terminal."""
    console = make_console()
    console.print(strip_control_characters(text), soft_wrap=not console.is_terminal)


def print_table(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    numbers: Sequence[int] = (),
    styles: Sequence[str] = (),
) -> None:
    """Print a table.

    Args:
        headings: the headings of the columns.
        rows: the cells of each row.
        title: a line above the table.
        numbers: indices of the columns that are aligned to the right.
        styles: a rich style for each row; no styles if empty.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, heading in enumerate(headings):
        right = index in numbers
        table.add_column(heading, justify="right" if right else "left", no_wrap=right)
    # Cells are Text objects, so rich does not read people's brackets as markup.
    for index, row in enumerate(rows):
        style = styles[index] if styles else None
        table.add_row(*(Text(strip_control_characters(cell)) for cell in row), style=style)
    console = make_console()
    if title:
        console.print(Text(f"\n{strip_control_characters(title)}", style="bold"))
    console.print(table)
