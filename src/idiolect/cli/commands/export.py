"""``idiolect export``: one person's adapter in a format that other tools read."""

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


@click.command("export")
@store_argument
@person_option
@out_option("The folder to make.")
@click.option(
    "--format", type=click.Choice(["peft"]), default="peft", show_default=True, help="The format."
)
@click.option(
    "--on",
    type=click.Choice(["base", "public"]),
    default="base",
    show_default=True,
    help="Which base model it is for: the store's own one, or the public one that this was "
    "task-adapted from (then the task's adapter is put into it).",
)
@store_base_option
@pool_moved_option
@json_option
def command(
    store: Path,
    person: str,
    out: Path,
    format: str,
    on: Literal["base", "public"],
    base: str | None,
    pool: Path | None,
    as_json: bool,
) -> None:
    """Hand out one person's adapter in PEFT's format.

    STORE is a folder of adapters made by `idiolect personalize`, or of recipes made by `idiolect
    assemble`. Writes adapter_config.json and adapter_model.safetensors, which PEFT, vLLM and others
    load. The adapter is made of the person's own words: treat it like them. Where it is made of
    pieces, its manifest names the pool and, by pseudonym, the sharers.

    \b
    $ idiolect export mine --person me --out my-adapter
    """
    from idiolect import api

    with redirect_stdout_to_stderr():
        folder = api.export(
            api.ExportRequest(
                store=store, person=person, out=out, format=format, on=on, base=base, pool=pool
            )
        )
    if as_json:
        print_json({"person": person, "format": format, "on": on, "folder": folder})
    else:
        click.echo(f"the adapter of {person} lies in {folder}")
