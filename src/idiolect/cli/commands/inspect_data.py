"""``idiolect inspect``: summarize a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from idiolect.cli.formatting import format_date, truncate
from idiolect.cli.options import data_argument, json_option
from idiolect.cli.output import print_json, print_pairs, print_table
from idiolect.cli.strict_command import StrictCommand

if TYPE_CHECKING:
    from idiolect.history.summary import DatasetSummary, FieldExample, FieldStats


@click.command("inspect", cls=StrictCommand)
@data_argument
@json_option
def inspect_data_command(data: Path, as_json: bool) -> None:
    """Summarize a dataset.

    DATA is a dataset folder made by `idiolect import`. Shows the number of people, the lengths of
    their histories, the dates, how often each field is filled, and three example items.

    \b
    $ idiolect inspect data/films
    """
    from idiolect import api

    summary = api.inspect_data(data)
    if as_json:
        print_json(summary)
        return
    print_pairs(_build_facts(summary))
    print_fields("of items", summary.item_fields)
    print_fields("of queries", summary.query_fields)
    for example in summary.examples:
        print_example(example)


def _build_facts(summary: DatasetSummary) -> dict[str, str]:
    """Return the figures of the dataset as labels and values."""
    facts = {
        "dataset": summary.name,
        "task": summary.task,
        "source": summary.source,
        "people": f"{summary.people:,}",
        "history": f"{summary.shortest:,} / {summary.median:,g} / {summary.longest:,} items per "
        "person (min / median / max)",
        "items": f"{summary.items:,}",
        "queries": f"{summary.queries:,}",
        "time": f"{format_date(summary.first_time)} to {format_date(summary.last_time)}",
    }
    # A dataset without splits has one nameless split.
    if summary.splits and set(summary.splits) != {""}:
        parts = (f"{name or 'none'}: {number:,}" for name, number in summary.splits.items())
        facts["people"] += f" ({', '.join(parts)})"
    if summary.queries and summary.queries_with_answer is not None:
        facts["queries"] += f", {summary.queries_with_answer:,} of them with an answer"
    return facts


def print_fields(title: str, fields: Mapping[str, FieldStats]) -> None:
    """Print a row for each field: the share of items that have it, and its mean length."""
    if fields:
        rows = [(name, f"{s.filled:.1%}", f"{s.mean_words:,.1f}") for name, s in fields.items()]
        print_table((f"field {title}", "filled", "words (mean)"), rows, numbers=(1, 2))


def print_example(example: FieldExample) -> None:
    """Print one item; long texts are shortened."""
    item = example.item
    click.echo(f"Item of {truncate(example.person, 60)}, {format_date(item.time)}:")
    for name, text in item.fields.items():
        click.echo(f"  {name}: {truncate(text)}" if text.strip() else f"  {name}: (empty)")
