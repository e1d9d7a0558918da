"""``idiolect inspect``: what a dataset holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from idiolect.cli.formatting import format_date, truncate
from idiolect.cli.options import data_argument, json_option
from idiolect.cli.output import print_json, print_pairs, print_table

if TYPE_CHECKING:
    from idiolect.history.summary import DatasetSummary, FieldExample, FieldStats


@click.command("inspect")
@data_argument
@json_option
def command(data: Path, as_json: bool) -> None:
    """Show what a dataset holds.

    DATA is a dataset folder made by `idiolect import`. Shows its people, how long their histories
    are, from when to when, which fields are filled, and three items.

    \b
    $ idiolect inspect data/films
    """
    from idiolect import api

    found = api.inspect_data(data)
    if as_json:
        print_json(found)
        return
    print_pairs(_build_facts(found))
    print_fields("of an item", found.item_fields)
    print_fields("of a query", found.query_fields)
    for example in found.examples:
        print_example(example)


def _build_facts(found: DatasetSummary) -> dict[str, str]:
    facts = {
        "dataset": found.name,
        "task": found.task,
        "source": found.source,
        "people": f"{found.people:,}",
        "history": f"{found.shortest:,} / {found.median:,g} / {found.longest:,} items a person "
        "(min / median / max)",
        "items": f"{found.items:,}",
        "queries": f"{found.queries:,}",
        "time": f"{format_date(found.first_time)} to {format_date(found.last_time)}",
    }
    if found.splits and set(found.splits) != {""}:
        parts = (f"{name or 'none'}: {number:,}" for name, number in found.splits.items())
        facts["people"] += f" ({', '.join(parts)})"
    if found.queries and found.queries_with_answer is not None:
        facts["queries"] += f", {found.queries_with_answer:,} of them with their answer"
    return facts


def print_fields(title: str, fields: Mapping[str, FieldStats]) -> None:
    """A row a field: how many have it, how long it is."""
    if fields:
        rows = [
            (name, f"{use.filled:.1%}", f"{use.mean_words:,.1f}") for name, use in fields.items()
        ]
        print_table((f"field {title}", "filled", "words (mean)"), rows, numbers=(1, 2))


def print_example(example: FieldExample) -> None:
    """One item, long texts shortened."""
    item = example.item
    click.echo(f"an item of {truncate(example.person, 60)}, {format_date(item.time)}:")
    for name, text in item.fields.items():
        click.echo(f"  {name}: {truncate(text)}" if text.strip() else f"  {name}: (empty)")
