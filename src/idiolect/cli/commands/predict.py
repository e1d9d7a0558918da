"""``idiolect predict``: answer one question with one person's adapter."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from idiolect.cli.formatting import strip_control_characters
from idiolect.cli.options import (
    PATH_TYPE,
    QUANTIZE_HELP,
    json_option,
    person_option,
    pool_moved_option,
    store_argument,
    store_base_option,
)
from idiolect.cli.output import print_json, print_table
from idiolect.cli.progress import redirect_stdout_to_stderr
from idiolect.cli.strict_command import StrictCommand
from idiolect.errors import DataError

if TYPE_CHECKING:
    from idiolect.models.quantization.kinds import QuantizeName

SERVED_BY_BASE = "this person has no adapter in use; the base model answered"


@click.command("predict", cls=StrictCommand)
@store_argument
@person_option
@click.option(
    "--input",
    "text",
    required=True,
    metavar="TEXT",
    help="Question to answer; '-' reads it from stdin.",
)
@click.option(
    "--data", type=PATH_TYPE, help="The person's dataset, if adapters were trained with retrieval."
)
@click.option(
    "--profiles", type=PATH_TYPE, help="Folder of profiles, if adapters were trained with them."
)
@store_base_option
@click.option(
    "--quantize",
    metavar="KIND",
    help=f"{QUANTIZE_HELP} none.  [default: as the adapters were made]",
)
@pool_moved_option
@json_option
def predict_command(
    store: Path,
    person: str,
    text: str,
    data: Path | None,
    profiles: Path | None,
    base: str | None,
    quantize: QuantizeName | None,
    pool: Path | None,
    as_json: bool,
) -> None:
    """Answer one question with one person's adapter.

    STORE is a folder of adapters made by `idiolect personalize`, or of recipes made by `idiolect
    assemble`. The input has the form of the store's task: a message to reply to, a film to rate, an
    abstract to find a title for.

    If the task has a fixed set of answers, the likelihood of each is shown. The base model answers
    if the person has no adapter in use.

    \b
    $ idiolect predict mine --person me --input "How was your weekend?"
    """
    from idiolect import api

    if text == "-":
        text = _read_stdin()
    with redirect_stdout_to_stderr():
        prediction = api.predict(
            api.PredictRequest(
                store=store,
                person=person,
                text=text,
                base=base,
                quantize=quantize,
                data=data,
                profiles=profiles,
                pool=pool,
            )
        )
    if as_json:
        print_json(prediction)
        return
    if prediction.warning:
        click.echo(f"warning: {prediction.warning}", err=True)
    if prediction.served_by == "base":
        click.echo(SERVED_BY_BASE, err=True)
    click.echo(strip_control_characters(prediction.text))
    if prediction.probabilities:
        # A bar of at most 30 blocks next to each likelihood.
        rows = [
            (choice, f"{chance:.1%}", "█" * round(chance * 30))
            for choice, chance in prediction.probabilities.items()
        ]
        print_table(("answer", "likelihood", ""), rows, numbers=(1,))


def _read_stdin() -> str:
    """Read stdin as UTF-8. Raises DataError if it is something else."""
    try:
        return sys.stdin.buffer.read().decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text ({error})", file="stdin") from error
