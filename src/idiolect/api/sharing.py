"""API functions for sharing: consent, pools of pieces, recipes, means, and withdrawal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from idiolect.api.requests import ConsentRequest
from idiolect.errors import UsageError
from idiolect.events import Listener, null_listener
from idiolect.pieces.assembly.request import AssembleRequest
from idiolect.pieces.means.request import MeanRequest
from idiolect.pieces.sharing.request import ShareRequest
from idiolect.pieces.withdrawal.request import WithdrawRequest

if TYPE_CHECKING:
    from idiolect.pieces.assembly.assembler import AssembleSummary
    from idiolect.pieces.means.run import MeanSummary
    from idiolect.pieces.sharing.run import ShareSummary
    from idiolect.pieces.withdrawal.withdraw import WithdrawSummary
    from idiolect.privacy.consent import Consent


def consent(request: ConsentRequest) -> tuple[Consent, ...]:
    """Record or revoke the consent of people to one scope of sharing.

    Args:
        request: The people, the scope, and whether to revoke.

    Returns:
        The current consents of these people to this scope. People who revoke a consent that they
        never gave are left out.

    Raises:
        MissingError: If the store does not exist or does not contain a person.
        UsageError: If no person is named, if the scope is unknown, or if ``until`` has passed or is
            combined with ``revoke``; nothing is recorded then.

    Example:
        >>> consent(ConsentRequest(store=Path("mine"), people=["ann"], scope="pieces"))
    """
    from idiolect.adapters.store.consent import record_consent, revoke_store_consent

    if not request.revoke:
        return record_consent(request.store, request.people, request.scope, until=request.until)
    if request.until is not None:
        raise UsageError("a revocation takes effect at once: leave --until out")
    return revoke_store_consent(request.store, request.people, request.scope)


def consents(store: Path) -> tuple[Consent, ...]:
    """List all consents that a store's ledger records.

    Args:
        store: Folder of the adapters.

    Returns:
        The consents, sorted by person and scope, each with its dates and whether it is valid now.

    Raises:
        MissingError: If the store does not exist.

    Example:
        >>> [consent.person for consent in consents(Path("mine")) if consent.valid]
        ['ann']
    """
    from idiolect.adapters.store.consent import list_store_consents

    return list_store_consents(store)


def repair_ledger(store: Path) -> tuple[Consent, ...]:
    """Make a store's ledger usable again after it was cut off, changed, or lost its end.

    Keeps every line that can be read, so that people can still withdraw from pools. Revokes all
    consents, because a missing line may have revoked them; ask the people again. An intact ledger
    stays as it is.

    Args:
        store: Folder of the adapters.

    Returns:
        The consents after the repair.

    Raises:
        MissingError: If the store does not exist.

    Example:
        >>> [consent.person for consent in repair_ledger(Path("mine")) if consent.valid]
        []
    """
    from idiolect.adapters.store.consent import repair_store_ledger

    return repair_store_ledger(store)


def share(request: ShareRequest, *, listener: Listener = null_listener) -> ShareSummary:
    """Split adapters of consenting people into gated pieces and add them to a pool (Per-Pcs).

    The sharers are the people in ``people``, or a selection of the people with a valid consent to
    the scope ``pieces``. The pool contains only numbers, under a random pseudonym for each sharer.
    Those who have other texts of a person can often tell which pieces are theirs: in a test, 6 of
    12 people were found with 8 messages of each (by chance: 1).

    Two audits run first. The leakage audit refuses a person whose pieces reveal which items they
    were trained on, or say texts, numbers, addresses or names of the person, unless
    ``override_leakage`` gives a reason; the outcome names the items. A harm audit refuses a person
    whose pieces answer harmful prompts more often than the base model, unless ``override_harm``
    gives a reason.

    After an interruption, the same call resumes; it does not change sharers who are already in the
    pool.

    Args:
        request: The people, their store, and the pool.
        listener: Receives progress events.

    Returns:
        The number of sharers in the pool, and the audit's findings and outcome for each person.

    Raises:
        MissingError: If no person has a valid consent, or if a named person has none.
        UsageError: If a setting is invalid or the reason of an override is empty.
        MismatchError: If the pool was made for another base model or configuration.

    Example:
        >>> share(ShareRequest(store=Path("mine"), data=Path("data"), pool=Path("pool")))
    """
    # `judging` is on a higher layer than `pieces`, so the harm audit is passed in.
    from idiolect.judging.harm_check import DefaultHarmCheck
    from idiolect.pieces.sharing.run import share_pieces

    return share_pieces(request, harm_check=DefaultHarmCheck(listener=listener), listener=listener)


def pool_report(pool: Path, out: Path, *, recipes: Path | None = None) -> dict[str, Any]:
    """Write a report on a pool: its sharers, and with ``recipes`` how recipes use their pieces.

    ``out`` gets ``report.json`` and ``report.html``. They name sharers by the pool's pseudonyms and
    target users by numbers.

    Args:
        pool: Folder of the pool.
        out: Folder for the report.
        recipes: Folder of recipes that were assembled from this pool.

    Returns:
        The content of ``report.json``.

    Raises:
        MissingError: If the pool or the recipes do not exist.
        MismatchError: If the recipes were made from another pool.

    Example:
        >>> pool_report(Path("pool"), Path("report"), recipes=Path("recipes"))
    """
    from idiolect.evaluation.reports.pool import write_pool_report

    return write_pool_report(pool, out, recipes=recipes)


def assemble(request: AssembleRequest, *, listener: Listener = null_listener) -> AssembleSummary:
    """Assemble adapters for target users from a pool of pieces, without training (Per-Pcs).

    The result for each target user is a recipe: the pieces that make up the adapter, and their
    weights. ``predict``, ``export`` and ``personalize`` accept the folder ``out``. A person without
    a usable item is served by the base model. A later call makes only the recipes that have
    changed.

    Args:
        request: The target users' dataset and the pool.
        listener: Receives progress events.

    Returns:
        The people whose recipes were made, and the people served by the base model.

    Raises:
        DataError: If no person has a usable item.
        MissingError: If the dataset or the pool does not exist.
        MismatchError: If the base model or the task differs from the pool's, or if a history holds
            what was forgotten.
        UsageError: If the pool has fewer sharers than the settings require.

    Example:
        >>> assemble(AssembleRequest(data=Path("new"), pool=Path("pool"), out=Path("recipes")))
    """
    from idiolect.pieces.assembly.run import assemble_data

    return assemble_data(request, listener=listener)


def withdraw(request: WithdrawRequest, *, listener: Listener = null_listener) -> WithdrawSummary:
    """Remove sharers from a pool, and remove or rebuild what was made from their pieces.

    The folders ``within`` are searched. Recipes of people in ``data``, and adapters trained from
    these recipes, are rebuilt from the remaining sharers. Those of other people are removed, and
    exported adapters and reports are deleted. After an interruption, the same call completes the
    work.

    Args:
        request: The sharers and the folders to search.
        listener: Receives progress events.

    Returns:
        What was found, and what happened to it.

    Raises:
        MissingError: If a sharer is unknown, or if a folder to search does not exist.
        UsageError: If no sharer is named; nothing is changed then.

    Example:
        >>> withdraw(WithdrawRequest(pool=Path("pool"), store=Path("mine"), people=["ann"]))
    """
    from idiolect.pieces.withdrawal.withdraw import withdraw_sharers

    return withdraw_sharers(request, listener=listener)


def mean(request: MeanRequest, *, listener: Listener = null_listener) -> MeanSummary:
    """Write the mean of several people's adapters in PEFT's format.

    Training of other people can start from it (``PersonalizeRequest.start``), or move along its
    directions (``PersonalizeRequest.private``). It contains what these people have in common, so
    each of them must have a valid consent to the scope ``mean``. The update of each person is
    shortened to a common bound. An audit refuses a mean that reveals which items a person's adapter
    was trained on, unless ``override_leakage`` gives a reason. The store's ledger records that it
    was made.

    Args:
        request: The people, their store and dataset, and what to write.
        listener: Receives progress events.

    Returns:
        The folder, how many updates were shortened, and the guarantee of a private mean.

    Raises:
        MissingError: If a person has no adapter or no valid consent.
        UsageError: If fewer than five people are named, if the audit refuses, if adapters do not
            share one A but must, or if ``out`` is not empty.

    Example:
        >>> mean(MeanRequest(store=Path("mine"), data=Path("d"), people=agreed, out=Path("m")))
    """
    from idiolect.pieces.means.run import make_mean

    return make_mean(request, listener=listener)
