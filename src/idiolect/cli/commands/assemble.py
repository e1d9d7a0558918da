"""``idiolect assemble``: adapters for newcomers out of a pool of pieces, without training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from idiolect.cli.commands.personalize import format_people
from idiolect.cli.formatting import format_count, format_duration
from idiolect.cli.options import (
    PATH_TYPE,
    config_options,
    data_argument,
    json_option,
    out_option,
    people_options,
    store_base_option,
)
from idiolect.cli.output import print_json, print_pairs
from idiolect.cli.overrides import ConfigOverrides
from idiolect.cli.progress import progress_listener

if TYPE_CHECKING:
    from idiolect.pieces.assembly.assembler import AssembleSummary


@click.command("assemble")
@data_argument
@click.option("--pool", type=PATH_TYPE, required=True, help="The pool, made by idiolect share.")
@out_option("Folder of the recipes; made where it is missing.")
@store_base_option
@people_options("Assemble for this person only.")
@click.option(
    "--by",
    type=click.Choice(["likelihood", "gates"]),
    help="Whole adapters by how well they predict the history's answers (the default), or pieces, "
    "module by module, by the gates that fit: faster, and as the Per-Pcs paper does.",
)
@click.option("--top-k", type=int, metavar="K", help="Sharers, or pieces a module.  [default: 3]")
@click.option(
    "--top-p",
    type=float,
    metavar="P",
    help="By gates, instead: the fewest pieces whose weights reach P.",
)
@click.option("--sample", is_flag=True, help="By gates: draw pieces by weight.")
@click.option(
    "--temperature", type=float, metavar="T", help="Above 1 weights are more alike.  [default: 1]"
)
@click.option(
    "--recent-k", type=int, metavar="N", help="Look at the latest N items alone.  [default: all]"
)
@click.option(
    "--aggregate",
    type=click.Choice(["delta", "factors"]),
    help="By gates: sum the pieces' updates (the default), or A and B each: a third of the rank, "
    "and another update.",
)
@click.option(
    "--no-wait", is_flag=True, help="Fail at once where another process writes the recipes."
)
@config_options(seed="assemble.seed", dtype="dtype", device="device")
@json_option
def command(
    data: Path,
    pool: Path,
    out: Path,
    base: str | None,
    people: tuple[str, ...],
    by: str | None,
    top_k: int | None,
    top_p: float | None,
    sample: bool,
    temperature: float | None,
    recent_k: int | None,
    aggregate: str | None,
    no_wait: bool,
    wanted: ConfigOverrides,
    as_json: bool,
) -> None:
    """Put together adapters for newcomers, without training.

    For each person in DATA the sharers who would most probably have answered as they did are
    chosen, and weighted by that; with --by gates, for each module the pieces whose gates fit the
    history best. What is kept of that is a recipe, some 2 KB a person; `predict`,
    `export` and `personalize --pieces` take the folder --out as they take one of adapters, and
    make the adapter where it is wanted. Run it again at any time: it goes on after an interruption,
    and later makes only the recipes of people whose history has changed, or all where settings or
    the pool have. People without a usable item are served by the base model, and named.

    \b
    $ idiolect assemble data/newcomers --pool pool --out recipes
    $ idiolect predict recipes --person ann --input "Heat (1995)"
    """
    from idiolect import api

    said = {
        "by": by,
        "top_k": top_k,
        "top_p": top_p,
        "sample": sample or None,
        "temperature": temperature,
        "recent_k": recent_k,
        "aggregate": aggregate,
    }
    more = [(f"assemble.{name}", value) for name, value in said.items() if value is not None]
    wanted = replace(wanted, settings=(*wanted.settings, *more))
    with progress_listener() as listener:
        done = api.assemble(
            api.AssembleRequest(
                data=data,
                pool=pool,
                out=out,
                base=base,
                config=wanted.build_config(api.RecipeConfig),
                people=people,
                wait=not no_wait,
            ),
            listener=listener,
        )
    if as_json:
        print_json(done)
    else:
        print_pairs(summarize_assembly(done))


def summarize_assembly(done: AssembleSummary) -> dict[str, str]:
    """The run in lines; people are named where they do not get what was asked for."""
    facts = {
        "assembled": format_count(len(done.assembled), "person", "people"),
        "unchanged": format_count(len(done.unchanged), "person", "people"),
    }
    if done.no_items:
        facts["base: no usable item"] = format_people(done.no_items)
    if done.unusable_items:
        facts["left out"] = f"{format_count(done.unusable_items, 'item')} (no answer, or too long)"
    facts["pool"] = format_count(done.sharers, "sharer")
    facts["recipes"] = str(done.recipes)
    facts["time"] = format_duration(done.seconds)
    return facts
