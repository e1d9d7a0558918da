"""``idiolect forget``: delete a person, or some of their records, everywhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import click

from idiolect.cli.formatting import format_count, format_duration, join_reasons
from idiolect.cli.options import (
    PATH_TYPE,
    add_settings,
    config_options,
    data_argument,
    json_option,
    profiles_option,
)
from idiolect.cli.output import print_json, print_pairs, print_table
from idiolect.cli.overrides import ConfigOverrides
from idiolect.cli.progress import progress_listener
from idiolect.cli.strict_command import StrictCommand
from idiolect.errors import IntegrityError, MissingError, UsageError

if TYPE_CHECKING:
    from idiolect.api.requests import ForgetRequest
    from idiolect.erasure.receipt import Receipt

MAX_ROWS = 60
"""Maximum number of rows in the table; ``--json`` prints all."""
MAX_NAMED_PLACES = 8
"""Number of places that the error message names."""


@click.command("forget", cls=StrictCommand)
@data_argument
@click.argument("adapters", type=PATH_TYPE)
@click.option(
    "--person",
    "people",
    required=True,
    multiple=True,
    metavar="ID",
    help="Id of the person. Repeatable, to delete several people entirely.",
)
@click.option(
    "--records",
    multiple=True,
    metavar="ID|FILE",
    help="Delete only this record: an id, or a file of ids (one per line, or JSON lines with an "
    "id). Repeatable.",
)
@click.option(
    "--gone",
    type=PATH_TYPE,
    metavar="FILE",
    help="File of prompts and responses to remove from the adapter, if DATA no longer holds them.",
)
@click.option(
    "--bound",
    type=float,
    metavar="R",
    help="With --gone: maximum factor by which perplexity on the other items may rise.  [default: "
    "1.05]",
)
@click.option(
    "--in",
    "within",
    multiple=True,
    type=PATH_TYPE,
    metavar="FOLDER",
    help="Folder to search. Repeatable.  [default: the parent folders of DATA and ADAPTERS]",
)
@click.option(
    "--no-rebuild",
    is_flag=True,
    help="Remove other people's artifacts that depend on these words instead of rebuilding them.",
)
@click.option(
    "--keep-joint",
    is_flag=True,
    help="Keep records shared with other people (co-authored papers) in their histories.",
)
@click.option(
    "--no-suppress",
    is_flag=True,
    help="Write no hashes of what is forgotten to suppressed.json; an import can bring it back.",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Search every byte of the folders afterwards; fail if anything is left or not searched.",
)
@click.option(
    "--receipt",
    "receipt_file",
    type=PATH_TYPE,
    metavar="FILE",
    help="File to write the receipt to, with hashes of what is deleted. With it, --verify can "
    "search for the words again later.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="List the effects of a real run and what has to be trained again; change nothing.",
)
@profiles_option
@click.option(
    "--base", metavar="MODEL", help="Current location of the base model, if it has moved."
)
# Options and the settings of `UnlearnConfig` that they set.
@config_options(seed="train.seed")
@json_option
def forget_command(
    data: Path,
    adapters: Path,
    people: tuple[str, ...],
    records: tuple[str, ...],
    gone: Path | None,
    bound: float | None,
    within: tuple[Path, ...],
    no_rebuild: bool,
    keep_joint: bool,
    no_suppress: bool,
    verify: bool,
    receipt_file: Path | None,
    dry_run: bool,
    profiles: Path | None,
    base: str | None,
    overrides: ConfigOverrides,
    as_json: bool,
) -> None:
    """Delete a person, or some of their records, everywhere.

    DATA is the person's dataset, ADAPTERS the store that holds their adapter. Without --records,
    the whole person is deleted: rows, words inside other people's histories (replaced by
    [removed]), profile, adapter and copies of it, work in progress, pieces in pools, recipe,
    exports, reports, and the link to their pseudonym in ledgers.

    With several --person, these people are deleted one after the other, after each of them was
    found. There is one receipt for each. After an interruption, the same command deletes the rest.

    With --dry-run, the receipt lists what the run will do, in the same words, if training succeeds;
    with several --person, what it will do for each of them alone.

    With --records, the dataset is rewritten without these records, and the adapter is retrained
    from the base model on the remaining items: the same bytes as if the records had never existed.

    Artifacts of other people that depend on these words (adapters trained on redacted histories,
    base models adapted on the items, means, recipes with the pieces) are rebuilt, removed, or
    refused. No other artifacts change.

    Hashes of what is forgotten are added to suppressed.json beside DATA and ADAPTERS: imports into
    these folders leave the person or the records out, and `personalize`, `adapt`, `assemble` and
    `profile` refuse them. The hashes
    are slow and salted, but a short list of possible ids can be tried: keep the file private, or
    use --no-suppress. `idiolect suppressed` takes a person off the list.

    The receipt lists what happened to each artifact; it names the person. If an artifact could not
    be read, the command lists it and fails after deleting the rest. With --verify, the
    command prints it first, and then searches every file in the folders for the id, for texts of 20
    or more characters that only this person wrote, for shorter ones as whole values or lines (8 or
    more characters, not a single word), and for the adapter's numbers. It looks into archives in
    archives, databases and their logs, tables, mails and other encodings, and follows links. If
    anything is left, the command fails and names it. What it could not look into (a PDF, an
    encrypted archive, a named pipe, what expands to gigabytes) is listed with the reason, and is a
    failure, too. Copies elsewhere are out of reach. After an interruption, run the same command
    again.

    After the deletion no file tells the words any more, so a second --verify cannot search for
    them, and fails. With --receipt FILE it can: the file keeps keyed hashes of the words. Guesses
    can be tested against these hashes, and short texts can be guessed: keep FILE private, and
    delete it when nothing is left. --verify skips FILE.

    Records that are no longer in DATA cannot be left out of a training run. --gone FILE removes
    from the adapter what it still knows of them by negation (SKU): the prompts (in the form that
    `predict` takes) and responses in FILE are the forget set, the person's items in DATA the retain
    set. The adapter keeps its rank. If the forget set has not become less likely, or the retain set
    exceeds --bound, nothing is changed. FILE itself is yours to delete; --verify skips it. --seed,
    --config and --set set the method, as for `unlearn`. Negation is approximate: the exact way is
    to retrain the adapter, which the next `personalize` does.

    \b
    $ idiolect forget data/films raters --person 42 --verify --receipt receipt.json
    $ idiolect forget data/chats mine --person ann --records ann-17 --records more-ids.txt
    $ idiolect forget data/chats mine --person ann --gone deleted.jsonl --verify
    $ idiolect forget data/films raters --person 42 --in . --in /backup/idiolect --dry-run
    """
    from idiolect import api

    # These settings configure negation only: exact deletion has nothing to tune.
    overrides = add_settings(overrides, {"retain_bound": bound})
    if gone is None and overrides != ConfigOverrides():
        raise UsageError("--bound, --seed, --config and --set require --gone FILE")
    if len(people) > 1 and (records or gone is not None or receipt_file is not None):
        raise UsageError(
            "--records, --gone and --receipt belong to one person, but --person is given "
            f"{len(people)} times: run the command once for each of them"
        )
    erased: list[Receipt] = []
    stdout = sys.stdout

    def show_erased(receipt: Receipt) -> None:
        """Print the receipt before the search, which takes its time and can be interrupted."""
        erased.append(receipt)
        if verify and not as_json:
            with redirect_stdout(stdout):
                print_receipt(receipt)

    def make_request(person: str) -> ForgetRequest:
        return api.ForgetRequest(
            data=data,
            adapters=adapters,
            person=person,
            records=_collect_ids(records),
            gone=gone,
            within=within,
            base=base,
            profiles=profiles,
            config=api.ForgetConfig(
                rebuild=not no_rebuild, keep_joint=keep_joint, suppress=not no_suppress
            ),
            negating=overrides.build_config(api.UnlearnConfig) if gone is not None else None,
            verify=verify,
            receipt=receipt_file,
            on_erased=show_erased,
            dry_run=dry_run,
        )

    is_single = len(people) == 1
    try:
        with progress_listener() as listener:
            receipts = (
                (api.forget(make_request(people[0]), listener=listener),)
                if is_single
                else api.forget_people([*map(make_request, people)], listener=listener)
            )
    except BaseException:
        # JSON is one document, which is printed at the end: also if the search was interrupted.
        if erased and as_json:
            print_json(erased[0] if is_single else erased)
        raise
    if as_json:
        print_json(receipts[0] if is_single else receipts)
    for receipt in receipts if not as_json else ():
        if receipt.verified:
            print_verification(receipt)
        else:
            print_receipt(receipt)
    if already := sorted({*people} - {receipt.person for receipt in receipts}):
        click.echo(f"nothing found, so nothing to delete: {', '.join(already)}", err=True)
    # Without --verify, artifacts that could not be read are what is known to be left.
    if remains := [why for r in receipts if r.done and (why := _explain_remains(r))]:
        raise IntegrityError("; ".join(remains))


def _explain_remains(receipt: Receipt) -> str:
    """Return what is left and what was not searched, with the first places of each; empty if
    nothing."""

    def list_places(places: Sequence[str]) -> str:
        more = len(places) - MAX_NAMED_PLACES
        hidden = f" and {more:,} more places" if more > 0 else ""
        return f"{', '.join(places[:MAX_NAMED_PLACES])}{hidden}"

    parts: list[str] = []
    if receipt.left:
        found = [f"{_show_place(hit.where, hit.inside)} ({hit.what})" for hit in receipt.left]
        parts.append(
            f"{receipt.person!r} is not completely deleted: files that Idiolect did not write "
            f"still contain something: {list_places(found)}; delete these files or edit them"
        )
    unsearched = [*join_reasons(receipt.unreadable), *_list_unsearched(receipt)]
    if unsearched:
        parts.append(
            f"not everything was looked into: {list_places(unsearched)}; look at these yourself"
        )
    return "; ".join(parts)


def _list_unsearched(receipt: Receipt) -> list[str]:
    return [f"{_show_place(one.where, one.inside)}: {one.why}" for one in receipt.unsearched]


def _show_place(where: Path, inside: str) -> str:
    return f"{where} > {inside}" if inside else str(where)


def _collect_ids(values: tuple[str, ...]) -> list[str]:
    """Return the ids that were given, and the ids in the files that were given."""
    ids: list[str] = []
    for value in values:
        path = Path(value)
        ids += _read_ids(path) if path.is_file() else [value]
    return ids


def _read_ids(path: Path) -> list[str]:
    """Read ids, one per line; a line may be a JSON object with an ``id``. Raises MissingError."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        ids = [json.loads(x)["id"] if x.startswith("{") else x for x in map(str.strip, lines) if x]
    except (OSError, ValueError, KeyError) as error:
        raise MissingError(f"{path}: cannot read the list of records ({error})") from error
    return [str(record) for record in ids]


def print_receipt(receipt: Receipt) -> None:
    """Print a table of the effects, and the run as labels and values."""
    if receipt.effects:
        rows = [
            (e.what, e.person or "-", str(e.where), e.outcome, f"{e.count:,}", e.why)
            for e in receipt.effects[:MAX_ROWS]
        ]
        title = "Effects" if receipt.done else "What would be affected (nothing was changed)"
        print_table(
            ("what", "person", "where", "outcome", "count", "reason"),
            rows,
            title=title,
            numbers=(4,),
        )
        if len(receipt.effects) > MAX_ROWS:
            click.echo(f"and {len(receipt.effects) - MAX_ROWS:,} more (--json prints all)")
    # What was deleted: a person, some of their records, or pairs by negation.
    subject = receipt.person
    if receipt.gone:
        subject = f"{format_count(receipt.gone, 'pair')} by negation of {subject}"
    elif receipt.records:
        subject = f"{format_count(len(receipt.records), 'record')} of {subject}"
    facts = {"deleted" if receipt.done else "would be deleted": subject}
    if receipt.negated:
        facts["negation"] = receipt.negated.summary_text
    if receipt.kept:
        kept = ", ".join(map(str, receipt.kept))
        facts["yours to delete"] = f"{kept} (not searched: it contains what was deleted)"
    facts["searched"] = ", ".join(map(str, receipt.searched))
    facts |= {kind: f"{n:,}" for kind, n in sorted(receipt.outcome_counts.items())}
    if receipt.unreadable:
        facts["not searched"] = "; ".join(join_reasons(receipt.unreadable))
    facts["time"] = format_duration(receipt.seconds)
    print_pairs(facts)


def print_verification(receipt: Receipt) -> None:
    """Print what the search for remains found and did not look into."""
    if receipt.left:
        rows = [(_show_place(hit.where, hit.inside), hit.what) for hit in receipt.left[:MAX_ROWS]]
        print_table(("where", "what is left"), rows, title="Remains")
    if receipt.unsearched:
        listed = receipt.unsearched[:MAX_ROWS]
        rows = [(_show_place(one.where, one.inside), one.why) for one in listed]
        print_table(("where", "why"), rows, title="Not looked into")
    places = format_count(len(receipt.left), "place")
    skipped = len(receipt.unsearched) + len(receipt.unreadable)
    verified = f"{places} left" if receipt.left else "nothing is left in any file"
    if skipped:
        verified = f"{places} left, {format_count(skipped, 'place')} not looked into"
    facts = {"verified": verified, "files": f"{receipt.searched_files:,}"}
    if receipt.too_short:
        count = format_count(receipt.too_short, "text")
        facts["not searched for"] = f"{count} too short to be told apart (one word, or under 8)"
    facts["time"] = format_duration(receipt.seconds)
    print_pairs(facts)
