"""``idiolect personalize``: train the adapters of those who need one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from idiolect.cli.formatting import format_count, format_duration
from idiolect.cli.options import (
    add_profiles_setting,
    base_option,
    config_options,
    data_argument,
    json_option,
    people_options,
    profiles_option,
    store_option,
)
from idiolect.cli.output import print_json, print_pairs
from idiolect.cli.overrides import ConfigOverrides, override_settings, parse_setting
from idiolect.cli.progress import progress_listener

if TYPE_CHECKING:
    from idiolect.training.runs.summary import PersonalSummary

MAX_NAMED_PEOPLE = 8
"""People named in a line of the summary; the others are counted."""


@click.command("personalize")
@data_argument
@store_option
@base_option
@people_options("Train this person only.")
@profiles_option
@click.option(
    "--afresh/--continue",
    default=True,
    help="Whose history has grown: train anew on all of it (the default), or go on from their "
    "present adapter with the new items.",
)
@click.option(
    "--start",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Start everyone from this adapter in PEFT's format (idiolect mean makes one), not from "
    "fresh ones.",
)
@click.option(
    "--pieces",
    type=click.Path(path_type=Path),
    metavar="RECIPES",
    help="Start each person from the adapter that their recipe makes (idiolect assemble makes "
    "recipes). Adapters are then of that kind, so lora settings stay out.",
)
@click.option(
    "--shard",
    metavar="K/N",
    help="Train the people of shard K of N alone, into a part of the store: run all N, anywhere "
    "and in any order, then idiolect merge.",
)
@click.option(
    "--ray",
    metavar="ADDRESS|local",
    help="Train in shards on a Ray cluster, or with Ray on this machine, and merge them.",
)
@click.option(
    "--shards", type=int, metavar="N", help="With --ray: how many shards; by default 4 a worker."
)
@click.option(
    "--workers",
    type=int,
    metavar="N",
    help="With --ray: how many workers; by default one a GPU, without GPUs one a machine.",
)
@click.option(
    "--no-wait", is_flag=True, help="Fail at once where another process writes the store."
)
@click.option(
    "--engine",
    "layout",
    multiple=True,
    metavar="NAME=VALUE",
    help="How the work is laid out (speed and rounding, never what is computed): compile=true for "
    "runs of many minutes, slots, forward_tokens, keep_bytes...",
)
@config_options(
    rate="train.rate",
    epochs="train.epochs",
    rank="lora.rank",
    seed="train.seed",
    retrieval="context.retrieval",
    k="context.k",
    gate="gate.on",
    dtype="dtype",
    device="device",
)
@json_option
def command(
    data: Path,
    store: Path,
    base: str,
    people: tuple[str, ...],
    profiles: Path | None,
    afresh: bool,
    start: Path | None,
    pieces: Path | None,
    shard: str | None,
    ray: str | None,
    shards: int | None,
    workers: int | None,
    no_wait: bool,
    layout: tuple[str, ...],
    wanted: ConfigOverrides,
    as_json: bool,
) -> None:
    """Train the adapters of those who need one.

    Trains one adapter for each person in DATA, many at a time, into the folder --store. Run it
    again at any time: after an interruption it goes on, and later it trains only people whose
    history has changed. People with too few items, and people whom their adapter does not help on
    the last part of their own history (the do-no-harm gate), are served by the base model, and
    named.

    With --pieces everyone must have a recipe: who was not assembled is named, and nobody is
    trained. Who had no usable item then is served by the base here as well; whoever has too few
    items to train on can still be served by the recipe itself (predict RECIPES).

    Very many people are trained in shards, on many machines: docs/scale.md.

    \b
    $ idiolect personalize data/me --store mine
    $ idiolect personalize data/films --base film-base --store raters --rate 5e-4 --no-gate
    $ idiolect personalize data/films --store raters --pieces recipes --epochs 1
    $ idiolect personalize data/films --store raters --shard 3/8
    """
    from idiolect import api

    with progress_listener() as listener:
        request = api.PersonalizeRequest(
            data=data,
            store=store,
            base=base,
            config=add_profiles_setting(wanted, profiles).build_config(api.PersonalConfig),
            engine=override_settings(
                api.EngineConfig(), [parse_setting(s, "--engine") for s in layout]
            ),
            people=people,
            profiles=profiles,
            mode="afresh" if afresh else "continue",
            start=start,
            pieces=pieces,
            shard=shard,
            ray=ray,
            shards=shards,
            workers=workers,
            wait=not no_wait,
        )
        done = api.personalize(request, listener=listener)
    if as_json:
        print_json(done)
    else:
        print_pairs(summarize_training(done))


def summarize_training(done: PersonalSummary) -> dict[str, str]:
    """The run in lines; people are named where they do not get what was asked for."""
    facts = {
        "trained": format_count(len(done.trained), "person", "people"),
        "unchanged": format_count(len(done.unchanged), "person", "people"),
    }
    if done.too_few:
        facts["base: too few items"] = format_people(done.too_few)
    if done.gated_off:
        facts["base: adapter did not help"] = format_people(done.gated_off)
    facts["items"] = f"{done.items:,} trained on"
    if done.unusable_items:
        facts["items"] += f", {done.unusable_items:,} left out (no answer, or too long)"
    facts["tokens"] = f"{done.tokens:,}"
    facts["time"] = format_duration(done.seconds)
    return facts


def format_people(people: Sequence[str]) -> str:
    """``2 people: ann, bob``; the first few of many."""
    more = f" and {len(people) - MAX_NAMED_PEOPLE:,} more" if len(people) > MAX_NAMED_PEOPLE else ""
    return (
        f"{format_count(len(people), 'person', 'people')}: "
        f"{', '.join(people[:MAX_NAMED_PEOPLE])}{more}"
    )
