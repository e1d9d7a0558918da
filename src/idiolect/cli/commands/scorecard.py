"""``idiolect scorecard``: models before and after unlearning, measured side by side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from idiolect.cli.options import config_options, json_option, out_option
from idiolect.cli.output import print_json, print_table, print_text
from idiolect.cli.overrides import ConfigOverrides
from idiolect.cli.progress import progress_listener


@click.command("scorecard")
@click.argument("before")
@click.argument("after", nargs=-1)
@out_option("The folder for report.json and report.html.")
@click.option(
    "--forget",
    required=True,
    metavar="FILE",
    help="What was to go: a file of prompts and responses, or 'pyrit' (harmful answers).",
)
@click.option(
    "--retain",
    required=True,
    metavar="FILE",
    help="What was to stay: a file, or 'truthfulqa'; better of prompts that were not trained on.",
)
@click.option(
    "--unseen",
    metavar="FILE",
    help="Harmful prompts that were not in the forget set, with or without responses.",
)
@click.option(
    "--judge",
    default="default",
    show_default=True,
    metavar="JUDGE",
    help="Who tells what is harmful: default, guard:MODEL, ask:MODEL, label:LABEL:MODEL, or "
    "http://HOST/v1#MODEL (its key: IDIOLECT_JUDGE_KEY).",
)
@click.option(
    "--base", metavar="MODEL", help="Adapters' base, where it is not the embedded one or moved."
)
@config_options(seed="seed")
@json_option
def command(
    before: str,
    after: tuple[str, ...],
    out: Path,
    forget: str,
    retain: str,
    unseen: str | None,
    judge: str,
    base: str | None,
    wanted: ConfigOverrides,
    as_json: bool,
) -> None:
    """Measure whether unlearning worked, and what it cost.

    BEFORE is the model that was unlearned, AFTER what came out, one or several: base models, or
    adapters in PEFT's format. All are asked the same prompts. The page shows how often they are
    harmful, refuse, or say nothing (silence is not safe); perplexity, multiple choice and answers
    on what was to stay; how soon it is learned again; what rounding to 8 and 4 bits changes; what
    whoever has both models can make of them; and how often the judge itself is right. No prompt
    and no answer stands in the report.

    \b
    $ idiolect scorecard default safer --forget pyrit --retain truthfulqa --out card
    $ idiolect scorecard default safer --forget go.jsonl --unseen more.jsonl \\
        --retain stay.jsonl --judge guard:guard-model --set forms=false --out card
    """
    from idiolect import api

    with progress_listener() as listener:
        found = api.scorecard(
            api.ScorecardRequest(
                before=before,
                after=after,
                out=out,
                forget=forget,
                retain=retain,
                unseen=unseen,
                judge=judge,
                base=base,
                config=wanted.build_config(api.ScorecardConfig),
            ),
            listener=listener,
        )
    if as_json:
        print_json(found)
    else:
        print_scorecard(found, out)


def print_scorecard(report: Mapping[str, Any], out: Path) -> None:
    """Who judges, what was found, and a table."""
    from idiolect.evaluation.reports.unlearning_html import (
        describe_judge,
        format_decimal,
        format_percent,
        write_conclusions,
    )

    for text in (*write_conclusions(report), describe_judge(report["judge"])):
        print_text(text)
    rows = [
        (
            model["name"],
            one["name"],
            format_percent(one["harmful"]),
            format_percent(one["refused"]),
            format_percent(one["nothing"]),
            format_decimal(model["retain_cost"], 3),
        )
        for model in report["models"]
        for one in model["sets"]
    ]
    headings = ("model", "prompts", "harmful", "refused", "blank", "retain perplexity, times")
    print_table(headings, rows, numbers=(2, 3, 4, 5))
    click.echo(f"\nTo look at: {out / 'report.html'}\nTo compute with: {out / 'report.json'}")
