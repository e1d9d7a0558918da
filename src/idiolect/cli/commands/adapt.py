"""``idiolect adapt``: adapt the base model to a task on other people's data."""

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
from idiolect.cli.strict_command import StrictCommand


@click.command("adapt", cls=StrictCommand)
@data_argument
@out_option("Folder for the new base model.")
@base_option
@people_options("Train on this person only.")
@exclude_options("Exclude this person, and their items in other people's histories.")
@profiles_option
# Options and the settings of `AdaptConfig` that they set.
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
def adapt_command(
    data: Path,
    out: Path,
    base: str,
    people: tuple[str, ...],
    exclude: tuple[str, ...],
    profiles: Path | None,
    overrides: ConfigOverrides,
    as_json: bool,
) -> None:
    """Adapt the base model to a task on other people's data.

    Trains one adapter on the queries of the people in DATA, merges it into the base model, and
    writes the result to --out as a new base model. Train personal adapters on that one (`idiolect
    personalize --base OUT`): they then learn what is personal instead of what the task is.

    Exclude the people that you will evaluate on with --exclude. People of the dataset's test split
    are always excluded.

    \b
    $ idiolect adapt data/films --exclude-file testers.txt --out film-base
    """
    from idiolect import api

    with progress_listener() as listener:
        summary = api.adapt(
            api.AdaptRequest(
                data=data,
                out=out,
                base=base,
                config=add_profiles_setting(overrides, profiles).build_config(api.AdaptConfig),
                people=people,
                exclude=exclude,
                profiles=profiles,
            ),
            listener=listener,
        )
    if as_json:
        print_json(summary)
        return
    # Labels and values, then one line for each reason why items were left out.
    facts = {
        "base model": summary.out,
        "adapted from": base,
        "identity": summary.identity[:16],
        "trained on": f"{format_count(summary.people, 'person', 'people')}, "
        f"{format_count(summary.items, 'item')} "
        f"({format_count(summary.examples, 'different question')})",
        "tokens": f"{summary.tokens:,}",
        "time": format_duration(summary.seconds),
    }
    for reason, number in summary.left_out.items():
        facts[f"left out: {reason}"] = f"{number:,}"
    print_pairs(facts)
