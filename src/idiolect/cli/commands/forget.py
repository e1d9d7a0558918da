"""``idiolect forget``: a person, or some of their records, gone from everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from idiolect.cli.formatting import format_count, format_duration
from idiolect.cli.options import (
    PATH_TYPE,
    config_options,
    data_argument,
    json_option,
    profiles_option,
)
from idiolect.cli.output import print_json, print_pairs, print_table
from idiolect.cli.overrides import ConfigOverrides
from idiolect.cli.progress import progress_listener
from idiolect.errors import IntegrityError, MissingError, UsageError

if TYPE_CHECKING:
    from idiolect.erasure.receipt import Receipt

MAX_ROWS = 60
"""Rows of the table; --json holds all."""


@click.command("forget")
@data_argument
@click.argument("adapters", type=PATH_TYPE)
@click.option("--person", required=True, metavar="ID", help="Who is to be forgotten.")
@click.option(
    "--records",
    multiple=True,
    metavar="ID|FILE",
    help="Forget these records of theirs only: an id, or a file with ids, one a line (or JSON "
    "lines with an id). Repeatable.",
)
@click.option(
    "--gone",
    type=PATH_TYPE,
    metavar="FILE",
    help="Take out of their adapter what these prompts and responses say, which it was trained on "
    "and DATA holds no more.",
)
@click.option(
    "--bound",
    type=float,
    metavar="R",
    help="How many times its value the perplexity on their other items may become, with --gone.  "
    "[default: 1.05]",
)
@click.option(
    "--in",
    "within",
    multiple=True,
    type=PATH_TYPE,
    metavar="FOLDER",
    help="Where to look for what holds or was made of their words; without it, the folders that "
    "DATA and ADAPTERS lie in. Repeatable.",
)
@click.option(
    "--no-rebuild",
    is_flag=True,
    help="Take away what others have that followed from their words, instead of making it anew.",
)
@click.option(
    "--keep-joint",
    is_flag=True,
    help="Leave records that are others' as well (a co-authored paper) in these others' histories.",
)
@click.option("--verify", is_flag=True, help="Look through every byte of the folders afterwards.")
@click.option("--dry-run", is_flag=True, help="Say what there is, and change nothing.")
@profiles_option
@click.option("--base", metavar="MODEL", help="Where the base model lies now, if it has moved.")
@config_options(seed="train.seed")
@json_option
def command(
    data: Path,
    adapters: Path,
    person: str,
    records: tuple[str, ...],
    gone: Path | None,
    bound: float | None,
    within: tuple[Path, ...],
    no_rebuild: bool,
    keep_joint: bool,
    verify: bool,
    dry_run: bool,
    profiles: Path | None,
    base: str | None,
    wanted: ConfigOverrides,
    as_json: bool,
) -> None:
    """Forget a person, or some of their records, everywhere.

    DATA is the dataset they are in, ADAPTERS the store that has their adapter. With --records the
    dataset is rewritten without these, and their adapter is trained anew from the base on what is
    left: the same bytes as if the records had never been there. Without, the whole person goes:
    rows, words inside others' histories (a line says [removed] there), profile, adapter and copies
    of it, work in progress, pieces in pools, recipe, exports, reports, and in ledgers the way from
    them to their pseudonym. What others have that followed from their words (adapters trained on
    redacted histories, bases adapted on their items, means, recipes of their pieces) is made anew,
    or taken away, or refused; nobody else's numbers change.

    The receipt says what became of what; it names the person. --verify decodes every file below
    the folders and looks for the id, for texts of 20 characters and more that only they wrote, and
    for the numbers of their adapter; if anything is left, the command fails and names it. Copies
    elsewhere are out of reach. After an interruption the same command goes on.

    Records that are gone from DATA already cannot be left out of a training. --gone FILE takes out
    of the adapter what it still knows of them, by negation (SKU): the prompts, as predict takes
    them, and responses of FILE are to go, their items in DATA are to stay. The adapter keeps its
    rank; where what went has not become less likely, or what stays leaves --bound, nothing is
    changed. All that followed from the adapter goes as with --records. FILE stays: it is yours, and
    --verify passes it by. Negation is no proof: the exact way is to train them anew without the
    records, which the next personalize does. --seed, --config and --set say how it is done, as for
    unlearn.

    \b
    $ idiolect forget data/films raters --person 42 --verify
    $ idiolect forget data/chats mine --person ann --records ann-17 --records more-ids.txt
    $ idiolect forget data/chats mine --person ann --gone deleted.jsonl --verify
    $ idiolect forget data/films raters --person 42 --in . --in /backup/idiolect --dry-run
    """
    from idiolect import api

    settings = [*wanted.settings, *([("retain_bound", bound)] if bound is not None else [])]
    wanted = ConfigOverrides(file=wanted.file, settings=tuple(settings))
    if gone is None and wanted != ConfigOverrides():
        raise UsageError("--bound, --seed, --config and --set say how --gone is done; name a FILE")
    with progress_listener() as listener:
        done = api.forget(
            api.ForgetRequest(
                data=data,
                adapters=adapters,
                person=person,
                records=_collect_ids(records),
                gone=gone,
                within=within,
                base=base,
                profiles=profiles,
                config=api.ForgetConfig(rebuild=not no_rebuild, keep_joint=keep_joint),
                negating=wanted.build_config(api.UnlearnConfig) if gone is not None else None,
                verify=verify,
                dry_run=dry_run,
            ),
            listener=listener,
        )
    if as_json:
        print_json(done)
    else:
        print_receipt(done)
    if done.left:
        places = ", ".join(f"{hit.where} ({hit.what})" for hit in done.left[:8])
        more = f" and {len(done.left) - 8} more places" if len(done.left) > 8 else ""
        raise IntegrityError(
            f"{done.person!r} is not gone yet, since files that are none of ours still hold "
            f"something: {places}{more}; delete them, or take it out"
        )


def _collect_ids(said: tuple[str, ...]) -> list[str]:
    """The ids that were named, and those in files."""
    out: list[str] = []
    for name in said:
        path = Path(name)
        out += _read_ids(path) if path.is_file() else [name]
    return out


def _read_ids(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        told = [json.loads(x)["id"] if x.startswith("{") else x for x in map(str.strip, lines) if x]
    except (OSError, ValueError, KeyError) as error:
        raise MissingError(f"{path}: cannot read the list of records ({error})") from error
    return [str(one) for one in told]


def print_receipt(done: Receipt) -> None:
    """A table of what became of what, and the run in lines."""
    if done.effects:
        rows = [
            (e.what, e.person or "-", str(e.where), e.outcome, f"{e.count:,}", e.why)
            for e in done.effects[:MAX_ROWS]
        ]
        title = "What became of what" if done.done else "What there is (nothing was changed)"
        print_table(
            ("what", "whose", "where", "outcome", "count", "why"), rows, title=title, numbers=(4,)
        )
        if len(done.effects) > MAX_ROWS:
            click.echo(f"and {len(done.effects) - MAX_ROWS:,} more (--json names all)")
    some = format_count(len(done.records), "record") if done.records else ""
    some = format_count(done.gone, "pair") + " by negation" if done.gone else some
    of = " of " if some else ""
    facts = {"forgotten" if done.done else "would be forgotten": f"{some}{of}{done.person}"}
    if done.kept:
        kept = ", ".join(map(str, done.kept))
        facts["yours to delete"] = f"{kept} (not looked into: it says what was forgotten)"
    facts["looked through"] = ", ".join(map(str, done.searched))
    facts |= {kind: f"{n:,}" for kind, n in sorted(done.outcome_counts.items())}
    if done.unreadable:
        facts["not looked into"] = "; ".join(done.unreadable)
    if done.verified:
        found = format_count(len(done.left), "place")
        facts["verified"] = f"{found} left" if done.left else "nothing is left, byte by byte"
    facts["time"] = format_duration(done.seconds)
    print_pairs(facts)
