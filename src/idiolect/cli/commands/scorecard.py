"""``idiolect scorecard``: measure whether unlearning worked, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from idiolect.cli.options import config_options, json_option, out_option
from idiolect.cli.output import print_json, print_table, print_text
from idiolect.cli.overrides import ConfigOverrides
from idiolect.cli.progress import progress_listener
from idiolect.cli.report_tables import print_report_paths
from idiolect.cli.strict_command import StrictCommand


@click.command("scorecard", cls=StrictCommand)
@click.argument("before")
@click.argument("after", nargs=-1)
@out_option("Folder for report.json and report.html.")
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
    help="Retain set: a file or 'truthfulqa'; prefer prompts that were not trained on.",
)
@click.option(
    "--unseen",
    metavar="FILE",
    help="File of harmful prompts that were not in the forget set.",
)
@click.option(
    "--judge",
    default="default",
    show_default=True,
    metavar="JUDGE",
    help="Judge of harmful answers: default, guard:MODEL, ask:MODEL, label:LABEL:MODEL, or "
    "http://HOST/v1#MODEL (with its key in IDIOLECT_JUDGE_KEY).",
)
@click.option(
    "--base",
    metavar="MODEL",
    help="Base model of adapters, if it is not the bundled one or has moved.",
)
# Options and the settings of `ScorecardConfig` that they set.
@config_options(seed="seed")
@json_option
def scorecard_command(
    before: str,
    after: tuple[str, ...],
    out: Path,
    forget: str,
    retain: str,
    unseen: str | None,
    judge: str,
    base: str | None,
    overrides: ConfigOverrides,
    as_json: bool,
) -> None:
    """Measure whether unlearning worked, and what it cost.

    BEFORE is the model before unlearning. AFTER is one or several models after unlearning. Each
    is a base model or an adapter in PEFT's format. All get the same prompts.

    The report shows how often each model's answers are harmful, refusals, or blank (a blank answer
    is not a safe one); perplexity, multiple choice and answers on the retain set; how quickly the
    model relearns; the effect of 8-bit and 4-bit quantization; what an attacker who has both models
    can recover; and how often the judge is correct. It contains no prompts and no answers.

    \b
    $ idiolect scorecard default safer --forget pyrit --retain truthfulqa --out card
    $ idiolect scorecard default safer --forget go.jsonl --unseen more.jsonl \\
        --retain stay.jsonl --judge guard:guard-model --set forms=false --out card
    """
    from idiolect import api

    # Invalid settings fail here, before a model is loaded.
    with progress_listener() as listener:
        report = api.scorecard(
            api.ScorecardRequest(
                before=before,
                after=after,
                out=out,
                forget=forget,
                retain=retain,
                unseen=unseen,
                judge=judge,
                base=base,
                config=overrides.build_config(api.ScorecardConfig),
            ),
            listener=listener,
        )
    if as_json:
        print_json(report)
    else:
        print_scorecard(report, out)


def print_scorecard(report: Mapping[str, Any], out: Path) -> None:
    """Print conclusions, the judge, and a table of each model on each set of prompts."""
    from idiolect.evaluation.reports.unlearning_html import (
        describe_judge,
        format_decimal,
        format_percent,
        write_conclusions,
    )

    # Numbers are rounded as in the HTML report.
    for text in (*write_conclusions(report), describe_judge(report["judge"])):
        print_text(text)
    # One row per model and set of prompts.
    rows = [
        (
            model["name"],
            prompts["name"],
            format_percent(prompts["harmful"]),
            format_percent(prompts["refused"]),
            format_percent(prompts["nothing"]),
            format_decimal(model["retain_cost"], 3),
        )
        for model in report["models"]
        for prompts in model["sets"]
    ]
    headings = ("model", "prompts", "harmful", "refused", "blank", "retain perplexity, ×")
    print_table(headings, rows, numbers=(2, 3, 4, 5))
    print_report_paths(out)
