"""What people give others: consent, pieces in pools, recipes made of them, and leaving again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.errors import UsageError
from idiolect.events import Listener, silent

if TYPE_CHECKING:
    from idiolect.pieces.assembly.assembler import AssembleSummary
    from idiolect.pieces.recipes.config import RecipeConfig
    from idiolect.pieces.sharing.run import ShareSummary
    from idiolect.pieces.sharing.sharing import ShareConfig
    from idiolect.pieces.withdrawal.withdraw import WithdrawSummary
    from idiolect.privacy.consent import Consent, Scope
    from idiolect.training.engine.config import EngineConfig


def consent(
    store: Path,
    people: Sequence[str],
    scope: Scope,
    *,
    until: date | None = None,
    revoke: bool = False,
) -> tuple[Consent, ...]:
    """Record that some of a store's people agree to a scope of sharing, or take that back.

    ``until`` is the last day on which it holds (UTC). Gives what now stands of them; who takes back
    what they never gave is not among them. Raises MissingError for a stranger, UsageError for an
    unknown scope, a day that has passed, or where nobody is named; nothing is recorded then.
    """
    from idiolect.adapters.store.consent import record_consent, take_consent_back

    if not revoke:
        return record_consent(store, people, scope, until=until)
    if until is not None:
        raise UsageError("a consent is taken back at once: leave the day until which it holds out")
    return take_consent_back(store, people, scope)


def consents(store: Path) -> tuple[Consent, ...]:
    """Everyone's consents, by person and scope, with whether they hold now."""
    from idiolect.adapters.store.consent import consents_in

    return consents_in(store)


def share(
    store: Path,
    data: Path,
    pool: Path,
    *,
    base: str | None = None,
    config: ShareConfig | None = None,
    engine: EngineConfig | None = None,
    people: Sequence[str] = (),
    profiles: Path | None = None,
    override_leakage: str | None = None,
    override_harm: str | None = None,
    wait: bool = True,
    listener: Listener = silent,
) -> ShareSummary:
    """Cut adapters of people who agreed into gated pieces, and put them into a pool.

    Who shares is chosen among those whose consent (scope ``pieces``) holds, or named in ``people``;
    ``data`` holds the histories that their adapters were trained on. Nothing but numbers goes into
    the pool, under a pseudonym drawn for it. Whoever an audit finds to give too much away is left
    out, unless ``override_leakage`` says why not; so is whose pieces answer harmful prompts more
    often than the base, unless ``override_harm`` does. The ledger keeps both. Again, it goes on
    with whom it had not finished, and leaves alone who is in the pool. Raises MissingError where
    nobody agreed, or somebody named did not.
    """
    from idiolect.judging.harm_check import DefaultHarmCheck
    from idiolect.pieces.sharing.run import share as share_pieces

    return share_pieces(
        store,
        data,
        pool,
        base=base,
        config=config,
        engine=engine,
        people=people,
        profiles=profiles,
        override_leakage=override_leakage,
        harm_check=DefaultHarmCheck(listener=listener),
        override_harm=override_harm,
        wait=wait,
        listener=listener,
    )


def pool_report(pool: Path, out: Path, *, recipes: Path | None = None) -> dict[str, Any]:
    """Write a report of a pool, and of whom it helps in some recipes; gives its content.

    ``out`` gets ``report.json`` and ``report.html``. Sharers stand in them under the pool's
    pseudonyms, people with recipes as numbers. Raises MismatchError for recipes of another pool.
    """
    from idiolect.evaluation.reports.pool import pool_report as report

    return report(pool, out, recipes=recipes)


def assemble(
    data: Path,
    pool: Path,
    out: Path,
    *,
    base: str | None = None,
    config: RecipeConfig | None = None,
    people: Sequence[str] = (),
    wait: bool = True,
    listener: Listener = silent,
) -> AssembleSummary:
    """Make the recipes of a dataset's people from a pool of pieces: only of those who need one.

    A recipe says which pieces make a person's adapter; ``predict``, ``export`` and ``personalize``
    take the folder ``out``. Who has no usable item is served by the base. Raises DataError where
    nobody has one, UsageError where the pool has too few sharers.
    """
    from idiolect.pieces.assembly.run import assemble_data

    return assemble_data(
        data,
        pool,
        out,
        base=base,
        config=config,
        people=people,
        wait=wait,
        listener=listener,
    )


def withdraw(
    pool: Path,
    *,
    sharers: Sequence[str] = (),
    store: Path | None = None,
    people: Sequence[str] = (),
    within: Sequence[Path] = (),
    data: Path | None = None,
    base: str | None = None,
    profiles: Path | None = None,
    wait: bool = True,
    listener: Listener = silent,
) -> WithdrawSummary:
    """Take sharers out of a pool, and what was made of their pieces out of the folders ``within``.

    They are named by pseudonym (``sharers``), or as ``people`` of the ``store`` that shared them.
    Without ``within`` the folder that the pool lies in is looked through. Recipes, and adapters
    trained from them, of people in ``data`` are made anew; all others are taken away, exported
    adapters and reports deleted. Again, it finishes what a kill left. Raises MissingError for
    sharers whom nothing knows, UsageError where nobody is named; nothing has happened then.
    """
    from idiolect.pieces.withdrawal.withdraw import withdraw as withdraw_sharers

    return withdraw_sharers(
        pool,
        sharers=sharers,
        store=store,
        people=people,
        within=within,
        data=data,
        base=base,
        profiles=profiles,
        wait=wait,
        listener=listener,
    )


def mean(store: Path, people: Sequence[str], out: Path, *, base: str | None = None) -> Path:
    """Write the mean of some people's adapters in PEFT's format: where others' training can start.

    What is common to their words is in it, so each of them must have agreed (``consent``, scope
    ``mean``); the store's ledger keeps that it was made. Raises UsageError where nobody is named,
    MissingError for who has no adapter and who has not agreed.
    """
    from idiolect.adapters.formats.exchange import export_mean
    from idiolect.pieces.recipes.sources import open_store

    return export_mean(open_store(store), people, out, base=base)
