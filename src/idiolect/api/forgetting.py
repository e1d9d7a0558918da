"""Forgetting people, or some of their records, wherever something of them is."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from idiolect.api.requests import ForgetRequest
from idiolect.errors import UsageError
from idiolect.events import Listener, null_listener

if TYPE_CHECKING:
    from idiolect.erasure.receipt import Receipt


def forget(request: ForgetRequest, *, listener: Listener = null_listener) -> Receipt:
    """Forget a person, or some of their records, in a dataset, a store and all that followed.

    Gone are rows in datasets, words inside others' histories, profiles, adapters and copies of
    them, pieces in pools, recipes, exports, reports, caches, and the way from the person to their
    pseudonym in ledgers. What others have that followed from their words is made again or removed.

    Records are forgotten exactly: the adapter is trained again on what is left, to the same bytes
    as if they had never been there. With ``gone`` the adapter is negated instead and keeps its
    rank; what followed from it is treated as with records, and training again remains the exact
    way. After a kill at any moment the same call finishes.

    Args:
        request: Whom or what to forget, and where.
        listener: Called with progress.

    Returns:
        What was found, what became of it, and (``verify``) what is left.

    Raises:
        MissingError: If nothing of the person is there, or a record is not.
        UsageError: If negation is not what is wanted, or fails; nothing is changed then.

    Example:
        >>> forget(ForgetRequest(data=Path("data"), adapters=Path("mine"), person="ann"))
    """
    from idiolect.erasure.deleted_records import ForgetDeletedRecords
    from idiolect.erasure.forget import ForgetConfig, ForgetRequest
    from idiolect.evaluation.erasure import Answers, CachedBases, Reports
    from idiolect.unlearning.run import UnlearnConfig

    if request.gone is not None and request.records:
        raise UsageError(
            "records that are in the data, and others that are gone from it, are forgotten one "
            "after the other: say --records or --gone"
        )
    forgetting = ForgetRequest(
        data=request.data,
        adapters=request.adapters,
        person=request.person,
        records=tuple(dict.fromkeys(request.records)),
        search_folders=tuple(request.within),
        config=request.config or ForgetConfig(),
        base=request.base,
        profiles=request.profiles,
        handlers=(Reports(), Answers(), CachedBases()),
        wait=request.wait,
        listener=listener,
    )
    if request.gone is not None:
        same = {one.name: getattr(forgetting, one.name) for one in fields(forgetting)}
        negating = request.negating or UnlearnConfig()
        forgetting = ForgetDeletedRecords(**same, pairs_file=request.gone, unlearn_config=negating)
    return forgetting.run(verify=request.verify, dry_run=request.dry_run)
