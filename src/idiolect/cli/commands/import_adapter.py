"""``idiolect import-adapter``: the way back of ``idiolect export``."""

from __future__ import annotations

from pathlib import Path

import click

from idiolect.cli.options import (
    PATH_TYPE,
    json_option,
    person_option,
    store_base_option,
    store_option,
)
from idiolect.cli.output import print_json
from idiolect.cli.progress import redirect_stdout_to_stderr


@click.command("import-adapter")
@click.argument("folder", type=PATH_TYPE)
@store_option
@person_option
@store_base_option
@click.option("--replace", is_flag=True, help="Replace the adapter that the person has.")
@json_option
def command(
    folder: Path, store: Path, person: str, base: str | None, replace: bool, as_json: bool
) -> None:
    """Take an adapter in PEFT's format into a store.

    FOLDER holds adapter_config.json and adapter_model.safetensors, as PEFT or `idiolect export`
    writes them. It must be a plain LoRA of the store's shape, for the store's base model.

    \b
    $ idiolect import-adapter my-adapter --store mine --person me
    """
    from idiolect import api

    with redirect_stdout_to_stderr():
        taken = api.import_adapter(
            api.ImportAdapterRequest(
                folder=folder, store=store, person=person, base=base, replace=replace
            )
        )
    if as_json:
        print_json(taken)
    else:
        click.echo(f"the adapter of {person} is in {taken.store} ({taken.bytes:,} bytes)")
