"""``idiolect mean``: average several people's adapters into one starting point."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from idiolect.cli.formatting import format_count
from idiolect.cli.options import (
    PATH_TYPE,
    json_option,
    out_option,
    people_options,
    profiles_option,
    store_argument,
    store_base_option,
)
from idiolect.cli.output import print_json, print_pairs
from idiolect.cli.progress import progress_listener
from idiolect.cli.strict_command import StrictCommand

if TYPE_CHECKING:
    from idiolect.pieces.means.run import MeanSummary


@click.command("mean", cls=StrictCommand)
@store_argument
@click.option(
    "--data",
    type=PATH_TYPE,
    help="Dataset that the adapters were trained on, for the leakage audit. Required, unless "
    "--override-leakage is given.",
)
@people_options("Id of a person with consent to the scope 'mean'; at least five.")
@out_option("Folder to write.")
@click.option(
    "--directions",
    type=int,
    default=0,
    metavar="K",
    help="Also write K directions in which the people differ: a basis for personalize --private. "
    "At most half as many as people.",
)
@click.option(
    "--private",
    type=float,
    metavar="EPSILON",
    help="Add noise for person-level differential privacy. Needs thousands of people or small "
    "adapters; the summary says how large the noise is.",
)
@click.option(
    "--clip",
    type=float,
    metavar="NORM",
    help="The largest norm of one person's update.  [default: the median norm; 3 with --private]",
)
@click.option(
    "--override-leakage",
    metavar="REASON",
    help="Write the mean even if the leakage audit refuses; the reason goes into the ledger.",
)
@profiles_option
@store_base_option
@json_option
def mean_command(
    store: Path,
    data: Path | None,
    people: tuple[str, ...],
    out: Path,
    directions: int,
    private: float | None,
    clip: float | None,
    override_leakage: str | None,
    profiles: Path | None,
    base: str | None,
    as_json: bool,
) -> None:
    """Average several people's adapters into one starting point.

    STORE is a folder of adapters made by `idiolect personalize`. Writes, in PEFT's format, the
    adapter whose update is nearest to the mean of the people's updates. It contains what these
    people have in common, so each of them must have given consent (`idiolect consent`).

    At least five people are needed, and no person's update counts with more than the norm --clip.
    An audit refuses the mean if it reveals which items a person's adapter was trained on.

    With --directions, the folder is also a basis for private training of other people
    (`personalize --private`). The adapters must share one A (`personalize --set
    lora.shared_a=true`).

    The adapter's manifest records the number of people. The store's ledger records, under
    pseudonyms, who they are.

    \b
    $ idiolect consent raters --people-file agreed.txt --scope mean
    $ idiolect mean raters --data data/films --people-file agreed.txt --out start
    $ idiolect personalize data/new --store new --start start --epochs 1
    $ idiolect mean raters --data data/films --people-file agreed.txt --out basis --directions 4
    $ idiolect personalize data/new --store private --start basis --private 8
    """
    from idiolect import api

    with progress_listener() as listener:
        request = api.MeanRequest(
            store=store,
            data=data,
            people=people,
            out=out,
            directions=directions,
            private=private,
            clip=clip,
            override_leakage=override_leakage,
            profiles=profiles,
            base=base,
        )
        summary = api.mean(request, listener=listener)
    if as_json:
        print_json(summary)
    else:
        print_pairs(summarize_mean(summary))


def summarize_mean(summary: MeanSummary) -> dict[str, str]:
    """Return the mean as labels and values."""
    facts = {
        "mean of": format_count(summary.people, "person", "people"),
        "norm of an update": f"at most {summary.clip:.3g} ({summary.clipped} shortened)",
    }
    if summary.directions:
        facts["directions"] = str(summary.directions)
    if summary.leaking:
        found = format_count(len(summary.leaking), "person", "people")
        facts["leakage, overridden"] = found
    if summary.privacy is not None and summary.noise_share is not None:
        epsilon, delta = summary.privacy.epsilon, summary.privacy.delta
        facts["privacy"] = f"epsilon {epsilon:g}, delta {delta:g} for one person"
        facts["that means"] = summary.privacy.sentence
        facts["noise"] = f"{summary.noise_share:.2g} times the largest possible mean"
    facts["folder"] = str(summary.folder)
    return facts
