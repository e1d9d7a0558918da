"""``idiolect personalize``: train one adapter for each person."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from idiolect.cli.formatting import format_count, format_duration
from idiolect.cli.options import (
    PATH_TYPE,
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
from idiolect.cli.overrides import ConfigOverrides, override_settings, parse_settings
from idiolect.cli.progress import progress_listener
from idiolect.cli.strict_command import StrictCommand
from idiolect.errors import MismatchError

if TYPE_CHECKING:
    from idiolect.training.runs.summary import PersonalSummary

MAX_NAMED_PEOPLE = 8
"""Number of people that a line of the summary names; the others are counted."""


@click.command("personalize", cls=StrictCommand)
@data_argument
@store_option
@base_option
@people_options("Train this person only.")
@profiles_option
@click.option(
    "--afresh/--continue",
    default=True,
    help="If a history has grown: retrain on all items (the default), or continue training the "
    "current adapter on the new ones.",
)
@click.option(
    "--allow-older",
    is_flag=True,
    help="Replace adapters even if DATA has a shorter or older history of the person.",
)
@click.option(
    "--start",
    type=PATH_TYPE,
    metavar="FOLDER",
    help="Start training from this adapter in PEFT's format (made by idiolect mean).",
)
@click.option(
    "--private",
    type=float,
    metavar="EPSILON",
    help="Train with record-level differential privacy: the adapter moves along the directions of "
    "--start (made by idiolect mean --directions of other people: it protects no one whose adapter "
    "is in it), with noise. 8 is a common value; smaller is more private.",
)
@click.option(
    "--pieces",
    type=PATH_TYPE,
    metavar="RECIPES",
    help="Start training from each person's recipe (made by idiolect assemble); the recipes set "
    "the LoRA configuration.",
)
@click.option(
    "--shard",
    metavar="K/N",
    help="Train only shard K of N, into a part of the store. Run all N in any order, then idiolect "
    "merge.",
)
@click.option(
    "--ray",
    metavar="ADDRESS|local",
    help="Train all shards on a Ray cluster or with local Ray, then merge them.",
)
@click.option(
    "--shards", type=int, metavar="N", help="With --ray: number of shards.  [default: 4 per worker]"
)
@click.option(
    "--workers",
    type=int,
    metavar="N",
    help="With --ray: number of workers.  [default: 1 per GPU, or 1 per machine without GPUs]",
)
@click.option("--no-wait", is_flag=True, help="Fail at once if another process writes the store.")
@click.option(
    "--engine",
    "engine_settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Engine setting, which changes only speed and rounding: slots, forward_tokens, "
    "keep_bytes, compile=true (for long runs), and others. Repeatable.",
)
# Options and the settings of `PersonalConfig` that they set.
@config_options(
    rate="train.rate",
    epochs="train.epochs",
    rank="lora.rank",
    seed="train.seed",
    retrieval="context.retrieval",
    k="context.k",
    gate="gate.on",
    dtype="dtype",
    quantize="quantize",
    device="device",
)
@json_option
def personalize_command(
    data: Path,
    store: Path,
    base: str,
    people: tuple[str, ...],
    profiles: Path | None,
    afresh: bool,
    allow_older: bool,
    start: Path | None,
    private: float | None,
    pieces: Path | None,
    shard: str | None,
    ray: str | None,
    shards: int | None,
    workers: int | None,
    no_wait: bool,
    engine_settings: tuple[str, ...],
    overrides: ConfigOverrides,
    as_json: bool,
) -> None:
    """Train one adapter for each person.

    Trains an adapter for each person in DATA, many at a time, into the folder --store. The base
    model serves people with too few items, and people whose adapter does not help on the last part
    of their own history (the do-no-harm gate); they are listed.

    Run it again at any time: it resumes after an interruption, and later trains only people whose
    history has changed.

    With --pieces, each person must have a recipe. If recipes are missing, the people are named and
    no one is trained. The base model also serves people who had no usable item when recipes were
    made. The recipe itself can serve people with too few items (`predict RECIPES`).

    If DATA has a shorter or older history of a person than their adapter was made from (an old
    copy, or a copy from before a deletion), their adapter stays, the person is listed, and the exit
    code is 1. With --allow-older it is replaced.

    With --private, the adapter shows little about any single record of a person: the summary says
    how little. The gate, --retrieval and --profiles are off. The base model serves people with
    fewer than 20 records. Each training again spends more of a person's budget; the summary shows
    the total. The basis sets the LoRA configuration.

    Very large runs are split into shards on many machines: see docs/scale.md.

    \b
    $ idiolect personalize data/me --store mine
    $ idiolect personalize data/films --base film-base --store raters --rate 5e-4 --no-gate
    $ idiolect personalize data/films --store raters --pieces recipes --epochs 1
    $ idiolect personalize data/films --store raters --start basis --private 8
    $ idiolect personalize data/films --store raters --shard 3/8
    """
    from idiolect import api

    # Everything is checked before work begins: building the request raises UsageError.
    with progress_listener() as listener:
        request = api.PersonalizeRequest(
            data=data,
            store=store,
            base=base,
            config=add_profiles_setting(overrides, profiles).build_config(api.PersonalConfig),
            engine=override_settings(
                api.EngineConfig(), parse_settings(engine_settings, "--engine")
            ),
            people=people,
            profiles=profiles,
            mode="afresh" if afresh else "continue",
            allow_older=allow_older,
            start=start,
            private=private,
            pieces=pieces,
            shard=shard,
            ray=ray,
            shards=shards,
            workers=workers,
            wait=not no_wait,
        )
        summary = api.personalize(request, listener=listener)
    if as_json:
        print_json(summary)
    else:
        print_pairs(summarize_training(summary))
    # The others are trained; these people are not, which is a failure to be named.
    if summary.forgotten:
        raise MismatchError(
            f"{data}: holds what was forgotten, so {format_people(summary.forgotten)} cannot be "
            "trained; import the data again with --suppress FILE (suppressed.json beside DATA or "
            "the store), or take a person off this list: idiolect suppressed"
        )
    # The others are trained; these people keep their adapters, which is a failure to be named.
    if summary.older:
        raise MismatchError(
            f"{data}: older or shorter than the data that the current adapters of "
            f"{format_people(summary.older)} were made from, so these adapters stay; give the "
            "newer dataset, or --allow-older if these items were removed on purpose"
        )


def summarize_training(summary: PersonalSummary) -> dict[str, str]:
    """Return the run as labels and values; people served by the base model are listed."""
    facts = {
        "trained": format_count(len(summary.trained), "person", "people"),
        "unchanged": format_count(len(summary.unchanged), "person", "people"),
    }
    # The base model serves these people, for one of two reasons.
    if summary.too_few:
        facts["base: too few items"] = format_people(summary.too_few)
    if summary.gated_off:
        facts["base: adapter did not help"] = format_people(summary.gated_off)
    if summary.older:
        facts["kept: DATA is older"] = format_people(summary.older)
    if summary.forgotten:
        facts["refused: forgotten"] = format_people(summary.forgotten)
    facts["items"] = f"{summary.items:,} trained on"
    if summary.unusable_items:
        facts["items"] += f", {summary.unusable_items:,} skipped (no answer, or too long)"
    facts["tokens"] = f"{summary.tokens:,}"
    facts["time"] = format_duration(summary.seconds)
    return facts | summarize_privacy(summary)


def summarize_privacy(summary: PersonalSummary) -> dict[str, str]:
    """Return the guarantee of private training as labels and values; empty if there is none.

    Of several people, the weakest guarantee counts.
    """
    if not summary.privacy:
        return {}
    weakest = max(summary.privacy.values(), key=lambda one: one.total_epsilon)
    facts = {"privacy": f"epsilon {weakest.epsilon:g}, delta {weakest.delta:g} for one record"}
    if weakest.trainings > 1:
        total = f"epsilon {weakest.total_epsilon:.3g} over {weakest.trainings} trainings"
        facts["privacy, total"] = total
    return facts | {"that means": weakest.sentence}


def format_people(people: Sequence[str]) -> str:
    """Return e.g. ``2 people: ann, bob``; at most ``MAX_NAMED_PEOPLE`` are named."""
    more = f" and {len(people) - MAX_NAMED_PEOPLE:,} more" if len(people) > MAX_NAMED_PEOPLE else ""
    return (
        f"{format_count(len(people), 'person', 'people')}: "
        f"{', '.join(people[:MAX_NAMED_PEOPLE])}{more}"
    )
