"""``idiolect export``: write one person's adapter in a format that other tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from idiolect.cli.options import (
    json_option,
    out_option,
    person_option,
    pool_moved_option,
    store_argument,
    store_base_option,
)
from idiolect.cli.output import print_json
from idiolect.cli.progress import redirect_stdout_to_stderr
from idiolect.cli.strict_command import StrictCommand


@click.command("export", cls=StrictCommand)
@store_argument
@person_option
@out_option("Folder to write.")
@click.option(
    "--format", type=click.Choice(["peft"]), default="peft", show_default=True, help="File format."
)
@click.option(
    "--on",
    type=click.Choice(["base", "public"]),
    default="base",
    show_default=True,
    help="Target base model: the store's own, or the public one it was adapted from (adds the task "
    "adapter).",
)
@store_base_option
@pool_moved_option
@json_option
def export_command(
    store: Path,
    person: str,
    out: Path,
    format: str,
    on: Literal["base", "public"],
    base: str | None,
    pool: Path | None,
    as_json: bool,
) -> None:
    """Write one person's adapter in PEFT's format.

    STORE is a folder of adapters made by `idiolect personalize`, or of recipes made by `idiolect
    assemble`. Writes adapter_config.json and adapter_model.safetensors, which PEFT, vLLM and other
    tools load.

    The adapter is derived from the person's own words: protect it like them. If it was assembled
    from pieces, its manifest names the pool and the sharers' pseudonyms.

    \b
    $ idiolect export mine --person me --out my-adapter
    """
    from idiolect import api

    # Libraries print on stdout while they load the base model.
    with redirect_stdout_to_stderr():
        folder = api.export(
            api.ExportRequest(
                store=store, person=person, out=out, format=format, on=on, base=base, pool=pool
            )
        )
    if as_json:
        print_json({"person": person, "format": format, "on": on, "folder": folder})
    else:
        click.echo(f"wrote the adapter of {person} to {folder}")
