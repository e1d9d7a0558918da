"""``idiolect base``: check a base model before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from idiolect.cli.formatting import format_bytes
from idiolect.cli.options import json_option
from idiolect.cli.output import print_json, print_pairs, print_table
from idiolect.cli.progress import redirect_stdout_to_stderr
from idiolect.cli.strict_command import StrictCommand

if TYPE_CHECKING:
    from idiolect.models.device import DtypeName
    from idiolect.training.base_report.base_report import BaseReport


@click.group("base")
def base_command() -> None:
    """Check a base model before you use it.

    \b
    $ idiolect base check models/mine
    """


@base_command.command("check", cls=StrictCommand)
@click.argument("model")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "bfloat16", "float32"]),
    default="auto",
    show_default=True,
    help="Data type to run it in.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Device to run it on: cpu, cuda, mps, or auto.",
)
@json_option
def check_model(model: str, dtype: DtypeName, device: str, as_json: bool) -> None:
    """Check one base model: whether it works, and what it needs.

    MODEL is 'default' (the bundled model), a folder, or hub:OWNER/NAME. The command loads it as
    training does. If the model cannot be used, the command says why and exits with 1.

    Shows the family and size, the modules that get adapters, and the memory to train and to serve,
    which is computed, not measured. Each fast way of running the model was compared with the plain
    one; a way that gave other numbers is not used, and the table says what that costs. The last
    table says whether other tools can use the adapters, and how that is known.

    A model that is larger than the free memory is not loaded; then its ways are not known.

    \b
    $ idiolect base check default
    $ idiolect base check models/mine --json
    """
    from idiolect import api

    # Libraries print on stdout while they load the base model.
    with redirect_stdout_to_stderr():
        report = api.check_base(api.BaseCheckRequest(base=model, dtype=dtype, device=device))
    if as_json:
        print_json(report)
        return
    print_pairs(_build_facts(report))
    print_memory(report)
    print_ways(report)
    print_table(
        ("tool", "adapters work", "known from", "otherwise"),
        [(one.tool, one.works, one.known_from, one.advice) for one in report.exports],
        title="Exported adapters in other tools",
    )


def _build_facts(report: BaseReport) -> dict[str, str]:
    """Return what the base is, as labels and values."""
    return {
        "base": report.name,
        "family": f"{report.family} ({report.architecture})",
        "parameters": f"{report.parameters:,} in {report.layers} layers",
        "longest text": f"{report.max_tokens:,} tokens",
        "runs in": f"{report.dtype} on {report.device}",
        "adapters on": f"{', '.join(report.targets)} ({report.target_modules} modules)",
        "one adapter": f"{report.adapter_parameters:,} parameters",
    }


def print_memory(report: BaseReport) -> None:
    """Print a row of computed memory for each precision."""
    rows = [
        (one.precision, *map(format_bytes, (one.base, one.person, one.train, one.serve)))
        for one in report.memory
    ]
    headings = ("weights in", "base", "training, each person", "training, whole", "serving, whole")
    print_table(headings, rows, title="Memory (computed, not measured)", numbers=(1, 2, 3, 4))


def print_ways(report: BaseReport) -> None:
    """Print which fast ways are right; if the base was not loaded, why."""
    if report.not_loaded:
        click.echo(f"fast ways: not checked, because {report.not_loaded}")
        return
    right = [one.way for one in report.ways if one.right]
    click.echo(f"fast ways that are right: {', '.join(right) or 'none'}")
    off = [(one.way, one.differs, one.costs) for one in report.ways if not one.right]
    if off:
        print_table(("fast way", "differs", "costs"), off, title="Fast ways that are off")
    if report.flat_modules:
        names = ", ".join(report.flat_modules)
        click.echo(f"adapters on {names} are trained for one person at a time")
