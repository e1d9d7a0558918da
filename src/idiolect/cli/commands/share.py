"""``idiolect share``: add pieces of consenting people's adapters to a pool."""

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
    add_settings,
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
from idiolect.cli.strict_command import StrictCommand

if TYPE_CHECKING:
    from idiolect.pieces.sharing.run import ShareSummary

POOL_LIMITS = (
    "those who have other texts of a person can often tell which pieces are theirs: in a test, "
    "6 of 12 people were found with 8 messages of each (1 by chance); to take pieces back: "
    "idiolect withdraw"
)
"""What a pool reveals in spite of pseudonyms."""
OUTCOME_STYLES = {"refused": "red", "harmful": "red", "overridden": "yellow", "revoked": "yellow"}

_MOST_IDS = 8
"""Items that one line of the output names."""


@click.command("share", cls=StrictCommand)
@store_argument
@click.option(
    "--data", type=PATH_TYPE, required=True, help="Dataset that the adapters were trained on."
)
@click.option(
    "--pool", type=PATH_TYPE, required=True, help="Folder of the pool; created if it is missing."
)
@click.option(
    "--sharers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Maximum number of sharers.  [default: 50]",
)
@click.option(
    "--strategy",
    type=click.Choice(["cluster", "most-active", "random"]),
    help="Select the most active person of each cluster of similar people, the most active people, "
    "or random people.  [default: cluster]",
)
@click.option(
    "--ratio",
    type=float,
    metavar="R",
    help="Fraction of each sharer's pieces.  [default: 1]",
)
@people_options("Share this person's pieces, instead of selecting sharers.")
@click.option("--seed", type=int, help="Seed of all random choices.")
@click.option(
    "--override-leakage",
    metavar="REASON",
    help="Share even if the leakage audit refuses, so that others may get the person's own words; "
    "the reason goes into the ledger.",
)
@click.option(
    "--override-harm",
    metavar="REASON",
    help="Share even if the harm audit refuses; the reason goes into the ledger.",
)
@profiles_option
@store_base_option
# No short options: the command's own options set the common fields of `ShareConfig`.
@config_options()
@json_option
def share_command(
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
    overrides: ConfigOverrides,
    as_json: bool,
) -> None:
    """Add pieces of consenting people's adapters to a pool.

    STORE is a folder of adapters made by `idiolect personalize`. Of the people with a valid consent
    (`idiolect consent --scope pieces`), selects a few who together represent most others.

    Before anything is shared, two audits run. The leakage audit refuses a person if the pieces
    reveal which items they were trained on, or if they say something that the person wrote and
    that the base model hardly would: a repeated text, a number, an address, a name. It names the
    items. A pass means that these attacks found nothing, not that no attack would. The harm audit
    refuses a person if the pieces answer harmful prompts more often than the base model does
    (harm.threshold; harm.on=false skips this audit).

    Then trains the gates, which describe what each piece is good for, and adds the pieces to the
    pool under a random pseudonym. The pool contains numbers, but no text and no names.

    A pseudonym does not hide a person from those who know their words. In a test, someone with 8
    other messages of each of 12 people found 6 of them in a pool; by chance it would be 1.

    With --override-leakage or --override-harm, a refused person is shared anyway. The ledger keeps
    the reason: do not name people in it.

    Run it again after an interruption, and it resumes.

    \b
    $ idiolect consent raters --person ann --person ben --scope pieces
    $ idiolect share raters --data data/films --pool pool
    $ idiolect share raters --data data/films --pool pool --person ann --ratio 0.5
    """
    from idiolect import api

    # The options set fields of the config; None keeps the field's value.
    values = {
        "sharers.sharers": sharers,
        "sharers.strategy": strategy,
        "ratio": ratio,
        "sharers.seed": seed,
        "gates.seed": seed,
    }
    with progress_listener() as listener:
        summary = api.share(
            api.ShareRequest(
                store=store,
                data=data,
                pool=pool,
                base=base,
                config=add_settings(overrides, values).build_config(api.ShareConfig),
                people=people,
                profiles=profiles,
                override_leakage=override_leakage,
                override_harm=override_harm,
            ),
            listener=listener,
        )
    if as_json:
        print_json(summary)
    else:
        print_sharing(summary)


def print_sharing(summary: ShareSummary) -> None:
    """Print a table of the audits' findings, and the run as labels and values."""
    # One row per person: the audits of the whole adapter, its pieces, and an assembled adapter.
    if summary.findings:
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
            for f in summary.findings
        ]
        print_table(
            (
                *("person", "pseudonym", "items in / out", "adapter", "pieces", "assembled"),
                *("harmful", "outcome"),
            ),
            rows,
            title="Membership inference (AUC, 0.5 is chance) and harmful answers",
            styles=[OUTCOME_STYLES.get(f.outcome, "") for f in summary.findings],
        )
    facts: dict[str, Any] = {
        "shared": format_count(len(summary.list_people("shared")), "person", "people")
    }
    if summary.present:
        facts["already in the pool"] = format_count(len(summary.present), "person", "people")
    # One line per outcome, with the people, and hints for those who were refused.
    for outcome, label in (
        ("overridden", "shared by override"),
        ("refused", "refused"),
        ("harmful", "refused: harmful"),
        ("revoked", "consent revoked"),
    ):
        if people := summary.list_people(outcome):
            facts[label] = format_people(people)
    # Too few items is the most common refusal, and the user can do something about it.
    unmeasured = [
        f.person for f in summary.findings if f.outcome == "refused" and _is_unmeasured(f.about)
    ]
    if unmeasured:
        facts["to measure them"] = (
            f"{format_people(unmeasured)}: the audit needs items that were trained on and items "
            "that were not; train with the do-no-harm gate, which holds out a person's last items, "
            "and on longer histories, or give a reason to share them unmeasured "
            "(--override-leakage)"
        )
    # For harm there are two ways out: retrain without the records, or unlearn for private use.
    if people := summary.list_people("harmful"):
        facts["to share them"] = (
            "first forget the records that caused it (idiolect forget DATA STORE --person ID "
            "--records ...), or give a reason to share them (--override-harm); for their own use "
            "only: idiolect unlearn STORE "
            f"--person {shlex.quote(people[0])} --method sku ..."
        )
    facts |= _explain_leaks(summary)
    if summary.list_people("shared", "overridden"):
        facts["note"] = POOL_LIMITS
    facts["pool"] = f"{summary.pool}, {format_count(summary.sharers, 'sharer')}"
    facts["report"] = str(summary.report)
    facts["time"] = format_duration(summary.seconds)
    print_pairs(facts)


def _explain_leaks(summary: ShareSummary) -> dict[str, str]:
    """Return one line for each text that leaks, with the ids of its items, and what to do."""
    refused = [f for f in summary.findings if f.outcome == "refused" and f.leaks]
    lines = [
        f"{leak.what}: {', '.join(item.id for item in leak.items[:_MOST_IDS])}"
        + (", ..." if len(leak.items) > _MOST_IDS else "")
        for finding in refused
        for leak in finding.leaks
    ]
    if not lines:
        return {}
    # The same sentences may hold for several people, so each line says whose item it is.
    people = shlex.quote(refused[0].person)
    return {
        "leaks": "\n".join(lines),
        "to share safely": "forget these items (idiolect forget DATA STORE --person "
        f"{people} --records ...), train with a guarantee (idiolect personalize --private), share "
        "fewer modules (--ratio), or give a reason to share them (--override-leakage)",
    }


def _is_unmeasured(about: Mapping[str, float]) -> bool:
    """Return whether the audit had too few items for a result."""
    return "adapter_leaks" in about and "adapter_auc" not in about


def _format_leakage(about: Mapping[str, float], artifact: str) -> str:
    """Return e.g. ``0.62 (0.50–0.71), p 0.08``, or the reason why there is no figure."""
    if f"{artifact}_leaks" not in about:
        return "not measured"
    if f"{artifact}_auc" not in about:
        return "too few items"
    auc, low, high = (about[f"{artifact}_{key}"] for key in ("auc", "low", "high"))
    leaks = " leaks" if about[f"{artifact}_leaks"] else ""
    return f"{auc:.2f} ({low:.2f}–{high:.2f}), p {about[f'{artifact}_p']:.2f}{leaks}"


def _format_harm(about: Mapping[str, float]) -> str:
    """Return e.g. ``0.21 (+0.04)``: the harmful rate, and its difference from the base model."""
    if "harm_prompts" not in about:
        return "not measured"
    return f"{about['harm_rate']:.2f} ({about['harm_rise']:+.2f})"
