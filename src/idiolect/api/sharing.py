"""What people give others: consent, pieces in pools, recipes made of them, and leaving again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.api.requests import ConsentRequest
from idiolect.errors import UsageError
from idiolect.events import Listener, null_listener
from idiolect.pieces.assembly.request import AssembleRequest
from idiolect.pieces.sharing.request import ShareRequest
from idiolect.pieces.withdrawal.request import WithdrawRequest

if TYPE_CHECKING:
    from idiolect.pieces.assembly.assembler import AssembleSummary
    from idiolect.pieces.sharing.run import ShareSummary
    from idiolect.pieces.withdrawal.withdraw import WithdrawSummary
    from idiolect.privacy.consent import Consent


def consent(request: ConsentRequest) -> tuple[Consent, ...]:
    """Record that some of a store's people agree to a scope of sharing, or take that back.

    Args:
        request: Who agrees, and to what.

    Returns:
        What now stands of them; who takes back what they never gave is not among them.

    Raises:
        MissingError: For a stranger.
        UsageError: For an unknown scope, a day that has passed, or if nobody is named; nothing is
            recorded then.

    Example:
        >>> consent(ConsentRequest(store=Path("mine"), people=["ann"], scope="pieces"))
    """
    from idiolect.adapters.store.consent import record_consent, revoke_store_consent

    if not request.revoke:
        return record_consent(request.store, request.people, request.scope, until=request.until)
    if request.until is not None:
        raise UsageError("a consent is taken back at once: leave the day until which it holds out")
    return revoke_store_consent(request.store, request.people, request.scope)


def consents(store: Path) -> tuple[Consent, ...]:
    """Everyone's consents, by person and scope, with whether they hold now."""
    from idiolect.adapters.store.consent import list_store_consents

    return list_store_consents(store)


def share(request: ShareRequest, *, listener: Listener = null_listener) -> ShareSummary:
    """Cut adapters of people who agreed into gated pieces, and put them into a pool.

    Sharers are chosen among those whose consent (scope ``pieces``) holds, or named. Nothing but
    numbers goes into the pool, under a pseudonym drawn for it. People whose adapter gives too much
    away are left out, unless ``override_leakage`` says why not; so are people whose pieces answer
    harmful prompts more often than the base, unless ``override_harm`` does. A second call goes on
    with those whom the first had not finished, and leaves alone who is in the pool.

    Args:
        request: Whose adapters, and into which pool.
        listener: Called with progress.

    Returns:
        Who is in the pool, and what was found about each person.

    Raises:
        MissingError: If nobody agreed, or a named person did not.

    Example:
        >>> share(ShareRequest(store=Path("mine"), data=Path("data"), pool=Path("pool")))
    """
    from idiolect.judging.harm_check import DefaultHarmCheck
    from idiolect.pieces.sharing.run import share_pieces as share_pieces

    return share_pieces(request, harm_check=DefaultHarmCheck(listener=listener), listener=listener)


def pool_report(pool: Path, out: Path, *, recipes: Path | None = None) -> dict[str, Any]:
    """Write a report of a pool, and of whom it helps in some recipes; gives its content.

    ``out`` gets ``report.json`` and ``report.html``. Sharers stand in them under the pool's
    pseudonyms, people with recipes as numbers. Raises MismatchError for recipes of another pool.
    """
    from idiolect.evaluation.reports.pool import write_pool_report as report

    return report(pool, out, recipes=recipes)


def assemble(request: AssembleRequest, *, listener: Listener = null_listener) -> AssembleSummary:
    """Make the recipes of a dataset's people from a pool of pieces: only of those who need one.

    A recipe says which pieces make a person's adapter; ``predict``, ``export`` and ``personalize``
    take the folder ``out``. People without a usable item are served by the base.

    Args:
        request: For whom, and from which pool.
        listener: Called with progress.

    Returns:
        Who was assembled, and who is served by the base.

    Raises:
        DataError: If nobody has a usable item.
        UsageError: If the pool has too few sharers.

    Example:
        >>> assemble(AssembleRequest(data=Path("new"), pool=Path("pool"), out=Path("recipes")))
    """
    from idiolect.pieces.assembly.run import assemble_data

    return assemble_data(request, listener=listener)


def withdraw(request: WithdrawRequest, *, listener: Listener = null_listener) -> WithdrawSummary:
    """Take sharers out of a pool, and what was made of their pieces out of the folders ``within``.

    Recipes, and adapters trained from them, of people in ``data`` are made again; all others are
    removed, exported adapters and reports deleted. A second call finishes what a kill left.

    Args:
        request: Who leaves, and where to look.
        listener: Called with progress.

    Returns:
        What was found, and what became of it.

    Raises:
        MissingError: For sharers whom nothing knows.
        UsageError: If nobody is named; nothing has happened then.

    Example:
        >>> withdraw(WithdrawRequest(pool=Path("pool"), store=Path("mine"), people=["ann"]))
    """
    from idiolect.pieces.withdrawal.withdraw import withdraw_sharers as withdraw_sharers

    return withdraw_sharers(request, listener=listener)


def mean(store: Path, people: Sequence[str], out: Path, *, base: str | None = None) -> Path:
    """Write the mean of some people's adapters in PEFT's format: where others' training can start.

    What is common to their words is in it, so each of them must have agreed (``consent``, scope
    ``mean``); the store's ledger keeps that it was made. Raises UsageError where nobody is named,
    MissingError for who has no adapter and who has not agreed.
    """
    from idiolect.adapters.formats.exchange import export_mean
    from idiolect.pieces.recipes.sources import open_store

    return export_mean(open_store(store), people, out, base=base)
