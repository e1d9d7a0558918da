"""``idiolect unlearn``: knowledge taken out of a base model or an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from idiolect.cli.formatting import format_count, format_duration
from idiolect.cli.options import config_options, json_option, out_option, pool_moved_option
from idiolect.cli.output import print_json, print_pairs
from idiolect.cli.overrides import ConfigOverrides
from idiolect.cli.progress import progress_listener

METHODS = ("sku", "ft", "ga", "ga-mismatch", "task-vector", "npo")


class ScaleType(click.ParamType):
    """``auto``, or a number."""

    name = "auto|X"

    def convert(self, value: Any, param: Any, ctx: Any) -> float | str:
        """``auto`` as it is, a number as a float."""
        if value == "auto":
            return value
        try:
            return float(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is neither 'auto' nor a number", param, ctx)


@click.command("unlearn")
@click.argument("target")
@click.option(
    "--forget",
    required=True,
    metavar="FILE",
    help="What is to go: a file of prompts and responses, or 'pyrit' (harmful answers).",
)
@click.option(
    "--retain",
    required=True,
    metavar="FILE",
    help="What is to stay: a file of prompts and responses, or 'truthfulqa'. Nothing is guarded "
    "but the kinds of text in it.",
)
@out_option("The folder to make: a base model, or an adapter in PEFT's format.")
@click.option("--method", type=click.Choice(METHODS), help="How.  [default: sku]")
@click.option(
    "--scale",
    type=ScaleType(),
    help="How much of what was trained is taken out; auto is the largest that --retain-bound "
    "allows.  [default: auto]",
)
@click.option(
    "--retain-bound",
    type=float,
    metavar="R",
    help="How many times its value the perplexity on held-out retain text may become under "
    "--scale auto.  [default: 1.05]",
)
@click.option(
    "--guard",
    type=float,
    metavar="R",
    help="The same for a --scale that you name; beyond it nothing is written.  [default: 1.5]",
)
@click.option("--person", metavar="ID", help="Whose adapter, where TARGET is a store.")
@click.option(
    "--base", metavar="MODEL", help="An adapter's base, where it is not the embedded one or moved."
)
@pool_moved_option
@config_options(rate="train.rate", seed="train.seed", dtype="dtype", device="device")
@json_option
def command(
    target: str,
    forget: str,
    retain: str,
    out: Path,
    method: str | None,
    scale: float | str | None,
    retain_bound: float | None,
    guard: float | None,
    person: str | None,
    base: str | None,
    pool: Path | None,
    wanted: ConfigOverrides,
    as_json: bool,
) -> None:
    """Take knowledge out of a base model or an adapter.

    TARGET is a base model ('default', a folder, or a hub id), an adapter in PEFT's format, or a
    store with --person. What the --forget set says is made unlikely, what the --retain set says
    stays. Files are JSONL, JSON, CSV, YAML or Parquet, with the columns prompt and response, or
    those of PKU-SafeRLHF, TruthfulQA or AdvBench. SKU and task-vector train what should go beside
    the model and subtract it; the other methods train the model away from it. All but ft and
    ga-mismatch are kept off the inputs that the retain set gives each module (spare). A part of
    the retain set is held out, and its perplexity says how far that may go. TARGET itself stays as
    it is: delete it, since from both models what was taken out can be worked out.

    \b
    $ idiolect unlearn default --forget pyrit --retain truthfulqa --out safer
    $ idiolect unlearn mine --person me --forget go.jsonl --retain stay.jsonl --out cleaned
    $ idiolect unlearn default --method npo --forget go.csv --retain stay.csv --out safer
    """
    from idiolect import api

    said = {
        "method": method,
        "retain_bound": retain_bound,
        "guard": guard,
        "scale": None if scale == "auto" else scale,
    }
    settings = [(name, value) for name, value in said.items() if value is not None]
    if scale == "auto":
        settings.append(("scale", None))
    with progress_listener() as listener:
        done = api.unlearn(
            api.UnlearnRequest(
                target=target,
                out=out,
                forget=forget,
                retain=retain,
                config=ConfigOverrides(
                    file=wanted.file, settings=(*wanted.settings, *settings)
                ).build_config(
                    api.UnlearnConfig,
                    api.UnlearnConfig.with_method_defaults(method) if method else None,
                ),
                person=person,
                base=base,
                pool=pool,
            ),
            listener=listener,
        )
    if as_json:
        print_json(done)
        return
    print_pairs(
        {
            done.kind: str(done.out),
            "method": f"{done.method}, scale {done.scale:.3g}, {format_count(done.steps, 'step')}",
            "to forget": f"{format_count(done.forget_pairs, 'pair')}, perplexity "
            f"{done.before.forget_perplexity:.4g} -> {done.after.forget_perplexity:.4g}",
            "to retain": f"{format_count(done.retain_pairs, 'pair')}, perplexity held out "
            f"{done.before.retain_perplexity:.4g} -> {done.after.retain_perplexity:.4g}",
            "time": format_duration(done.seconds),
        }
    )
