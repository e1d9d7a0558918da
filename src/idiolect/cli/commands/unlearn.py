"""``idiolect unlearn``: remove knowledge from a base model or an adapter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from idiolect.cli.formatting import format_count, format_duration
from idiolect.cli.options import (
    add_settings,
    config_options,
    json_option,
    out_option,
    pool_moved_option,
)
from idiolect.cli.output import print_json, print_pairs
from idiolect.cli.overrides import ConfigOverrides
from idiolect.cli.progress import progress_listener
from idiolect.cli.strict_command import StrictCommand

METHODS: tuple[str, ...] = ("sku", "ft", "ga", "ga-mismatch", "task-vector", "npo")
"""The names of all methods, repeated here because the registry of methods imports torch."""


class ScaleType(click.ParamType):
    """A click type: ``auto`` or a number."""

    name = "auto|X"

    def convert(self, value: Any, param: Any, ctx: Any) -> float | str:
        """Return ``auto`` unchanged, or the number."""
        if value == "auto":
            return value
        try:
            return float(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is neither 'auto' nor a number", param, ctx)


@click.command("unlearn", cls=StrictCommand)
@click.argument("target")
@click.option(
    "--forget",
    required=True,
    metavar="FILE",
    help="Forget set: a file of prompts and responses, or 'pyrit' (harmful answers).",
)
@click.option(
    "--retain",
    required=True,
    metavar="FILE",
    help="Retain set: a file of prompts and responses, or 'truthfulqa'. Only its kinds of text are "
    "protected.",
)
@out_option("Folder for the new base model, or for the new adapter in PEFT's format.")
@click.option("--method", type=click.Choice(METHODS), help="Unlearning method.  [default: sku]")
@click.option(
    "--scale",
    type=ScaleType(),
    help="Factor of the subtracted update; auto is the largest that --retain-bound allows.  "
    "[default: auto]",
)
@click.option(
    "--retain-bound",
    type=float,
    metavar="R",
    help="With --scale auto: maximum factor by which held-out retain perplexity may rise.  "
    "[default: 1.05]",
)
@click.option(
    "--guard",
    type=float,
    metavar="R",
    help="With a fixed --scale: the same maximum; above it nothing is written.  [default: 1.5]",
)
@click.option("--person", metavar="ID", help="Id of the person, if TARGET is a store.")
@click.option(
    "--base",
    metavar="MODEL",
    help="Base model of an adapter, if it is not the bundled one or has moved.",
)
@pool_moved_option
# Options and the settings of `UnlearnConfig` that they set.
@config_options(rate="train.rate", seed="train.seed", dtype="dtype", device="device")
@json_option
def unlearn_command(
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
    overrides: ConfigOverrides,
    as_json: bool,
) -> None:
    """Remove knowledge from a base model or an adapter.

    TARGET is a base model ('default', a folder, or hub:OWNER/NAME), an adapter in PEFT's format, or
    a store of adapters with --person. The content of the --forget set becomes unlikely, that of the
    --retain set is preserved. Sets are JSONL, JSON, CSV, YAML or Parquet files with the columns
    prompt and response, or those of PKU-SafeRLHF, TruthfulQA or AdvBench.

    The methods sku and task-vector train an update on the forget set and subtract it; the others
    train the model away from the forget set. All but ft and ga-mismatch avoid the subspace of each
    module's inputs on the retain set (the setting spare). A part of the retain set is held out, and
    the perplexity on it limits the scale.

    TARGET itself is not changed. Delete it: a person with both models can recover what was removed.

    \b
    $ idiolect unlearn default --forget pyrit --retain truthfulqa --out safer
    $ idiolect unlearn mine --person me --forget go.jsonl --retain stay.jsonl --out cleaned
    $ idiolect unlearn default --method npo --forget go.csv --retain stay.csv --out safer
    """
    from idiolect import api

    values = {"method": method, "retain_bound": retain_bound, "guard": guard}
    overrides = add_settings(overrides, values)
    # In the config, auto is None, so this setting cannot mean "not given".
    if scale is not None:
        setting = ("scale", None if scale == "auto" else scale)
        overrides = replace(overrides, settings=(*overrides.settings, setting))
    # Each method has its own defaults, which settings override.
    defaults = api.UnlearnConfig.with_method_defaults(method) if method else None
    with progress_listener() as listener:
        summary = api.unlearn(
            api.UnlearnRequest(
                target=target,
                out=out,
                forget=forget,
                retain=retain,
                config=overrides.build_config(api.UnlearnConfig, defaults),
                person=person,
                base=base,
                pool=pool,
            ),
            listener=listener,
        )
    if as_json:
        print_json(summary)
        return
    print_pairs(
        {
            summary.kind: str(summary.out),
            "method": f"{summary.method}, scale {summary.scale:.3g}, "
            f"{format_count(summary.steps, 'step')}",
            "forget set": f"{format_count(summary.forget_pairs, 'pair')}, perplexity "
            f"{summary.before.forget_perplexity:.4g} -> {summary.after.forget_perplexity:.4g}",
            "retain set": f"{format_count(summary.retain_pairs, 'pair')}, held-out perplexity "
            f"{summary.before.retain_perplexity:.4g} -> {summary.after.retain_perplexity:.4g}",
            "time": format_duration(summary.seconds),
        }
    )
