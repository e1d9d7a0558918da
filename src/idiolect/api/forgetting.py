"""The API function that deletes a person, or some of their records, and everything derived."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from idiolect.api.requests import ForgetRequest
from idiolect.errors import UsageError
from idiolect.events import Listener, null_listener

if TYPE_CHECKING:
    from idiolect.erasure.receipt import Receipt


def forget(request: ForgetRequest, *, listener: Listener = null_listener) -> Receipt:
    """Delete a person, or some of their records, and everything derived from them.

    Without ``records`` and ``gone``, the whole person is deleted: rows in datasets, their words
    inside other people's histories, profiles, adapters and copies of them, pieces in pools,
    recipes, exports, reports, caches, and the link from the person to their pseudonym in ledgers.
    Artifacts of other people that depend on these words are rebuilt or removed.

    With ``records``, the dataset is rewritten without these records, and the person's adapter is
    retrained on the remaining items. The result is exact: the same bytes as if the records had
    never existed.

    With ``gone``, the records are no longer in the dataset. The adapter is changed by negation
    (SKU) and keeps its rank; dependent artifacts are treated as with ``records``. Negation is
    approximate; retraining is the exact method.

    If the process is killed, the same call completes the work.

    Args:
        request: The person or records to delete, and the folders to search.
        listener: Receives progress events.

    Returns:
        The receipt: what was found, what happened to it, and, with ``verify``, what remains and
        what could not be searched. The search does not raise errors.

    Raises:
        MissingError: If nothing of the person is found, or if a record does not exist.
        UsageError: If both ``records`` and ``gone`` are given, if negation fails, or if the receipt
            is about another person; nothing is changed then.
        IntegrityError: If the dataset or the adapters contain a link that leads out of them.
        BusyError: If another process writes one of the artifacts and ``wait`` is not set.

    Example:
        >>> forget(ForgetRequest(data=Path("data"), adapters=Path("mine"), person="ann"))
    """
    from idiolect.erasure.deleted_records import ForgetDeletedRecords
    from idiolect.erasure.forget import ForgetConfig, ForgetRequest
    from idiolect.evaluation.erasure import Answers, CachedBases, Reports
    from idiolect.unlearning.run import UnlearnConfig

    if request.gone is not None and request.records:
        raise UsageError(
            "records that are still in the dataset and records that are no longer in it need "
            "separate runs: give --records or --gone, not both"
        )
    # Reports, cached answers and cached bases belong to a higher layer than `erasure`.
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
        receipt_file=request.receipt,
        on_erased=request.on_erased,
        wait=request.wait,
        listener=listener,
    )
    if request.gone is not None:
        # Same call, but the adapter is negated instead of retrained.
        same = {field.name: getattr(forgetting, field.name) for field in fields(forgetting)}
        negating = request.negating or UnlearnConfig()
        forgetting = ForgetDeletedRecords(**same, pairs_file=request.gone, unlearn_config=negating)
    return forgetting.run(verify=request.verify, dry_run=request.dry_run)
