"""``idiolect import-adapter``: add an adapter in PEFT's format to a store."""

from __future__ import annotations

from pathlib import Path

import click

from idiolect.cli.options import (
    PATH_TYPE,
    json_option,
    person_option,
    store_base_option,
)
from idiolect.cli.output import print_json
from idiolect.cli.progress import redirect_stdout_to_stderr
from idiolect.cli.strict_command import StrictCommand


@click.command("import-adapter", cls=StrictCommand)
@click.argument("folder", type=PATH_TYPE)
@click.option("--store", type=PATH_TYPE, required=True, help="Folder of the adapters.")
@person_option
@store_base_option
@click.option("--replace", is_flag=True, help="Replace the person's current adapter.")
@json_option
def import_adapter_command(
    folder: Path, store: Path, person: str, base: str | None, replace: bool, as_json: bool
) -> None:
    """Add an adapter in PEFT's format to a store.

    FOLDER holds adapter_config.json and adapter_model.safetensors, as PEFT or `idiolect export`
    writes them. The adapter must be a plain LoRA with the store's configuration and base model.
    Modules and layers that it leaves out are added as zeros.

    \b
    $ idiolect import-adapter my-adapter --store mine --person me
    """
    from idiolect import api

    with redirect_stdout_to_stderr():
        imported = api.import_adapter(
            api.ImportAdapterRequest(
                folder=folder, store=store, person=person, base=base, replace=replace
            )
        )
    if as_json:
        print_json(imported)
    else:
        click.echo(f"added the adapter of {person} to {imported.store} ({imported.bytes:,} bytes)")
