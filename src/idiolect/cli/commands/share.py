"""``idiolect share``: pieces of the adapters of people who agreed, into a pool."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from idiolect.cli.commands.personalize import format_people
from idiolect.cli.formatting import format_count, format_duration
from idiolect.cli.options import (
    PATH_TYPE,
    config_options,
    json_option,
    people_options,
    profiles_option,
    store_argument,
    store_base_option,
)
from idiolect.cli.output import print_json, print_pairs, print_table
from idiolect.cli.overrides import ConfigOverrides
from idiolect.cli.progress import progress_listener

if TYPE_CHECKING:
    from idiolect.pieces.sharing.run import ShareSummary

OUTCOME_STYLES = {"refused": "red", "harmful": "red", "overridden": "yellow", "revoked": "yellow"}


@click.command("share")
@store_argument
@click.option(
    "--data", type=PATH_TYPE, required=True, help="The dataset that the adapters were trained on."
)
@click.option(
    "--pool", type=PATH_TYPE, required=True, help="Folder of the pool; made where it is missing."
)
@click.option(
    "--sharers",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many people share, at most.  [default: 50]",
)
@click.option(
    "--strategy",
    type=click.Choice(["cluster", "most-active", "random"]),
    help="Who: the most active of each cluster of people who are alike (the default), the most "
    "active of all, or a draw.",
)
@click.option(
    "--ratio", type=float, metavar="R", help="Which part of their pieces each gives.  [default: 1]"
)
@people_options("Share of this person, and of nobody who is not named.")
@click.option("--seed", type=int, help="Seed of every draw.")
@click.option(
    "--override-leakage",
    metavar="REASON",
    help="Share although an audit refuses it, of everyone whom this run is about. The reason is "
    "kept in the ledger: name nobody in it.",
)
@click.option(
    "--override-harm",
    metavar="REASON",
    help="Share although answers to harmful prompts become harmful with the adapter. The reason is "
    "kept in the ledger: name nobody in it.",
)
@profiles_option
@store_base_option
@config_options()
@json_option
def command(
    store: Path,
    data: Path,
    pool: Path,
    sharers: int | None,
    strategy: str | None,
    ratio: float | None,
    people: tuple[str, ...],
    seed: int | None,
    override_leakage: str | None,
    override_harm: str | None,
    profiles: Path | None,
    base: str | None,
    wanted: ConfigOverrides,
    as_json: bool,
) -> None:
    """Put pieces of adapters into a pool, of people who agreed.

    STORE is a folder of adapters made by `idiolect personalize`. Among those whose consent holds
    (`idiolect consent --scope pieces`) a few are chosen who between them are like most others.
    Before anything of them is shared, an audit asks how well it tells which of their items were
    trained on: whoever is found out is left out. So is whose pieces answer harmful prompts more
    often than the base does (harm.threshold; harm.on=false asks none). Then gates are trained,
    which say what each piece is good for, and the pieces go into the pool under a pseudonym:
    numbers, no text, no name. Run it again after an interruption and it goes on.

    \b
    $ idiolect consent raters --person ann --person ben --scope pieces
    $ idiolect share raters --data data/films --pool pool
    $ idiolect share raters --data data/films --pool pool --person ann --ratio 0.5
    """
    from idiolect import api

    said = {
        "sharers.sharers": sharers,
        "sharers.strategy": strategy,
        "ratio": ratio,
        "sharers.seed": seed,
        "gates.seed": seed,
    }
    with progress_listener() as listener:
        done = api.share(
            api.ShareRequest(
                store=store,
                data=data,
                pool=pool,
                base=base,
                config=add_settings(wanted, said).build_config(api.ShareConfig),
                people=people,
                profiles=profiles,
                override_leakage=override_leakage,
                override_harm=override_harm,
            ),
            listener=listener,
        )
    if as_json:
        print_json(done)
    else:
        print_sharing(done)


def add_settings(wanted: ConfigOverrides, said: Mapping[str, object]) -> ConfigOverrides:
    """The settings with those that were said by options of their own."""
    more = tuple((name, value) for name, value in said.items() if value is not None)
    return ConfigOverrides(file=wanted.file, settings=(*wanted.settings, *more))


def print_sharing(done: ShareSummary) -> None:
    """A table of what was found of whom, and the run in lines."""
    if done.findings:
        rows = [
            (
                f.person,
                f.sharer,
                f"{f.about['held_in']:.0f} / {f.about['held_out']:.0f}",
                _format_leakage(f.about, "adapter"),
                _format_leakage(f.about, "pieces"),
                _format_leakage(f.about, "assembled"),
                _format_harm(f.about),
                f.outcome,
            )
            for f in done.findings
        ]
        print_table(
            (
                *("who", "in the pool", "items in / out", "adapter", "pieces", "assembled"),
                *("harmful", "outcome"),
            ),
            rows,
            title="How well items that were trained on are told apart (AUC; 0.5 is chance), and "
            "harmful answers",
            styles=[OUTCOME_STYLES.get(f.outcome, "") for f in done.findings],
        )
    facts: dict[str, Any] = {
        "shared": format_count(len(done.list_people("shared")), "person", "people")
    }
    if done.present:
        facts["in the pool before"] = format_count(len(done.present), "person", "people")
    for outcome, text in (
        ("overridden", "shared by override"),
        ("refused", "refused"),
        ("harmful", "refused: harmful"),
        ("revoked", "consent taken back"),
    ):
        if people := done.list_people(outcome):
            facts[text] = format_people(people)
    unmeasured = [
        f.person for f in done.findings if f.outcome == "refused" and _is_unmeasured(f.about)
    ]
    if unmeasured:
        facts["to measure them"] = (
            f"{format_people(unmeasured)}: an audit needs items that were trained on and items "
            "that were "
            "not; train with the do-no-harm gate, which keeps a person's last items out, and on "
            "longer histories, or say why they may be shared unmeasured (--override-leakage)"
        )
    if people := done.list_people("harmful"):
        facts["to share them"] = (
            "forget first what taught it (idiolect forget DATA STORE --person ID --records ...), "
            "or say why not (--override-harm); for their own use alone: idiolect unlearn STORE "
            f"--person {shlex.quote(people[0])} --method sku ..."
        )
    facts["pool"] = f"{done.pool}, {format_count(done.sharers, 'sharer')}"
    facts["report"] = str(done.report)
    facts["time"] = format_duration(done.seconds)
    print_pairs(facts)


def _is_unmeasured(about: Mapping[str, float]) -> bool:
    """Whether an adapter was audited with too few items to tell anything."""
    return "adapter_leaks" in about and "adapter_auc" not in about


def _format_leakage(about: Mapping[str, float], artifact: str) -> str:
    """``0.62 (0.50–0.71), p 0.08``; why not, where there is no figure."""
    if f"{artifact}_leaks" not in about:
        return "not tried"
    if f"{artifact}_auc" not in about:
        return "too few items"
    auc, low, high = (about[f"{artifact}_{key}"] for key in ("auc", "low", "high"))
    leaks = " leaks" if about[f"{artifact}_leaks"] else ""
    return f"{auc:.2f} ({low:.2f}–{high:.2f}), p {about[f'{artifact}_p']:.2f}{leaks}"


def _format_harm(about: Mapping[str, float]) -> str:
    """``0.21 (+0.04)``: the harmful rate, and how far it is above the base's."""
    if "harm_prompts" not in about:
        return "not tried"
    return f"{about['harm_rate']:.2f} ({about['harm_rise']:+.2f})"
