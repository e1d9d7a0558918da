"""``idiolect adapt``: teach the base model a task on other people."""

from __future__ import annotations

from pathlib import Path

import click

from idiolect.cli.formatting import format_count, format_duration
from idiolect.cli.options import (
    add_profiles_setting,
    base_option,
    config_options,
    data_argument,
    exclude_options,
    json_option,
    out_option,
    people_options,
    profiles_option,
)
from idiolect.cli.output import print_json, print_pairs
from idiolect.cli.overrides import ConfigOverrides
from idiolect.cli.progress import progress_listener


@click.command("adapt")
@data_argument
@out_option("The folder for the new base model.")
@base_option
@people_options("Learn from this person only.")
@exclude_options("Never learn from this person, nor from their items in others' histories.")
@profiles_option
@config_options(
    rate="train.rate",
    epochs="train.epochs",
    rank="lora.rank",
    seed="train.seed",
    retrieval="context.retrieval",
    k="context.k",
    dtype="dtype",
    device="device",
)
@json_option
def command(
    data: Path,
    out: Path,
    base: str,
    people: tuple[str, ...],
    exclude: tuple[str, ...],
    profiles: Path | None,
    wanted: ConfigOverrides,
    as_json: bool,
) -> None:
    """Teach the base model a task on other people.

    Trains one adapter on the queries of people in DATA, merges it into the base model, and writes
    the result to --out as a base model of its own. Personal adapters are then trained on that one
    (`idiolect personalize --base OUT`), and learn what is personal instead of what the task is.
    People whom you will evaluate on must not take part: name them with --exclude. People of the
    dataset's test split never do.

    \b
    $ idiolect adapt data/films --exclude-file testers.txt --out film-base
    """
    from idiolect import api

    with progress_listener() as listener:
        made = api.adapt(
            api.AdaptRequest(
                data=data,
                out=out,
                base=base,
                config=add_profiles_setting(wanted, profiles).build_config(api.AdaptConfig),
                people=people,
                exclude=exclude,
                profiles=profiles,
            ),
            listener=listener,
        )
    if as_json:
        print_json(made)
        return
    facts = {
        "base model": made.out,
        "made from": base,
        "identity": made.identity[:16],
        "learned from": f"{format_count(made.people, 'person', 'people')}, "
        f"{format_count(made.items, 'item')} ({format_count(made.examples, 'different question')})",
        "tokens": f"{made.tokens:,}",
        "time": format_duration(made.seconds),
    }
    for reason, number in made.left_out.items():
        facts[f"left out: {reason}"] = f"{number:,}"
    print_pairs(facts)
