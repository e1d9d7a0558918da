"""``idiolect assemble``: adapters for target users from a pool of pieces, without training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from idiolect.cli.commands.personalize import format_people
from idiolect.cli.formatting import format_count, format_duration
from idiolect.cli.options import (
    PATH_TYPE,
    add_settings,
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
from idiolect.cli.strict_command import StrictCommand

if TYPE_CHECKING:
    from idiolect.pieces.assembly.assembler import AssembleSummary


@click.command("assemble", cls=StrictCommand)
@data_argument
@click.option(
    "--pool", type=PATH_TYPE, required=True, help="Folder of the pool (made by idiolect share)."
)
@out_option("Folder for the recipes; created if it is missing.")
@store_base_option
@people_options("Assemble an adapter for this person only.")
@click.option(
    "--by",
    type=click.Choice(["likelihood", "gates"]),
    help="Select whole adapters by the likelihood of the history's answers, or pieces of each "
    "module by their gates (faster, as in the Per-Pcs paper).  [default: likelihood]",
)
@click.option(
    "--top-k",
    type=int,
    metavar="K",
    help="Number of sharers, or of pieces per module.  [default: 3]",
)
@click.option(
    "--top-p",
    type=float,
    metavar="P",
    help="With gates, instead of --top-k: the fewest pieces whose weights reach P.",
)
@click.option("--sample", is_flag=True, help="With gates: sample the pieces by weight.")
@click.option(
    "--temperature", type=float, metavar="T", help="Above 1, weights are more even.  [default: 1]"
)
@click.option(
    "--recent-k", type=int, metavar="N", help="Use only the latest N items.  [default: all]"
)
@click.option(
    "--aggregate",
    type=click.Choice(["delta", "factors"]),
    help="With gates: sum the pieces' updates, or their A and B factors separately (a third of the "
    "rank, and a different update).  [default: delta]",
)
@click.option("--no-wait", is_flag=True, help="Fail at once if another process writes the recipes.")
# Options and the settings of `RecipeConfig` that they set.
@config_options(seed="assemble.seed", dtype="dtype", quantize="quantize", device="device")
@json_option
def assemble_command(
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
    overrides: ConfigOverrides,
    as_json: bool,
) -> None:
    """Assemble adapters for target users from a pool, without training.

    For each person in DATA, selects the sharers whose adapters give the highest likelihood to the
    answers in the person's history, and weights them by it. With --by gates, selects for each
    module the pieces whose gates fit the history best (Per-Pcs).

    The result is a recipe of about 2 KB for each person. `predict`, `export` and `personalize
    --pieces` accept the folder --out like a folder of adapters, and assemble an adapter when they
    need it.

    Run it again at any time: it resumes after an interruption, and later makes only the recipes of
    people whose history has changed, or all recipes if the settings or the pool have changed. The
    base model serves people without a usable item; they are listed.

    \b
    $ idiolect assemble data/new --pool pool --out recipes
    $ idiolect predict recipes --person ann --input "Heat (1995)"
    """
    from idiolect import api

    # The options set fields of the config's table `assemble`; None keeps the field's value.
    values: dict[str, object] = {
        "by": by,
        "top_k": top_k,
        "top_p": top_p,
        "sample": sample or None,
        "temperature": temperature,
        "recent_k": recent_k,
        "aggregate": aggregate,
    }
    overrides = add_settings(overrides, {f"assemble.{name}": v for name, v in values.items()})
    with progress_listener() as listener:
        summary = api.assemble(
            api.AssembleRequest(
                data=data,
                pool=pool,
                out=out,
                base=base,
                config=overrides.build_config(api.RecipeConfig),
                people=people,
                wait=not no_wait,
            ),
            listener=listener,
        )
    if as_json:
        print_json(summary)
    else:
        print_pairs(summarize_assembly(summary))


def summarize_assembly(summary: AssembleSummary) -> dict[str, str]:
    """Return the run as labels and values; people without an assembled adapter are listed."""
    facts = {
        "assembled": format_count(len(summary.assembled), "person", "people"),
        "unchanged": format_count(len(summary.unchanged), "person", "people"),
    }
    if summary.no_items:
        facts["base: no usable item"] = format_people(summary.no_items)
    if summary.unusable_items:
        facts["skipped"] = (
            f"{format_count(summary.unusable_items, 'item')} (no answer, or too long)"
        )
    facts["pool"] = format_count(summary.sharers, "sharer")
    facts["recipes"] = str(summary.recipes)
    facts["time"] = format_duration(summary.seconds)
    return facts
