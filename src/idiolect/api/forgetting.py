"""The API function that deletes a person, or some of their records, and everything derived."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from idiolect.api.requests import ForgetRequest, SuppressionListRequest
from idiolect.errors import MissingError, UsageError
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
    from idiolect.erasure.forget import ForgetConfig, ForgetRequest
    from idiolect.erasure.negation.deleted_records import ForgetDeletedRecords
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


def forget_people(
    requests: Sequence[ForgetRequest], *, listener: Listener = null_listener
) -> tuple[Receipt, ...]:
    """Delete several people entirely, one after the other.

    Before anything is changed, each person is looked for. If the process is killed, the same call
    completes the work: people on the suppression list who are already gone are passed over.

    Args:
        requests: One request for each person, without ``records``, ``gone`` and ``receipt``.
        listener: Receives progress events.

    Returns:
        One receipt for each person who was deleted, and with ``verify`` for all of them.

    Raises:
        UsageError: If a request is not for a whole person, or two are for the same one.
        MissingError: If nothing is found of a person who was not forgotten before; nothing is
            changed then. Without the suppression list (``suppress=False``), a person who is
            not found is passed over, and only if that holds for all is it an error.

    Example:
        >>> forget_people([request_for_ann, request_for_ben])
    """
    people = [request.person for request in requests]
    if len({*people}) < len(people):
        raise UsageError(f"a person is named twice: {', '.join(people)}")
    for request in requests:
        if request.records or request.gone is not None or request.receipt is not None:
            raise UsageError(
                "records, pairs and a receipt file belong to one person: with --records, --gone "
                "or --receipt, give --person once"
            )
    # Look for each of them first: a mistyped id must not be noticed halfway.
    missing: dict[str, MissingError] = {}
    for request in requests:
        # Without the list, it cannot be told apart whether they were forgotten before.
        uses_list = request.config is None or request.config.suppress
        has_anything = _has_anything_of(request, missing)
        if not has_anything and uses_list and not _is_suppressed(request):
            raise missing[request.person]
    if requests and len(missing) == len(requests) and not requests[0].verify:
        raise missing[people[0]]
    left = [r for r in requests if r.verify or r.person not in missing]
    return tuple(forget(request, listener=listener) for request in left)


def _has_anything_of(request: ForgetRequest, missing: dict[str, MissingError]) -> bool:
    """Whether anything of the person is found; otherwise adds the error to ``missing``."""
    from idiolect.erasure.forget import NothingFoundError

    try:
        forget(replace(request, dry_run=True, verify=False, on_erased=None))
    except NothingFoundError as error:
        missing[request.person] = error
        return False
    return True


def _is_suppressed(request: ForgetRequest) -> bool:
    """Whether a person is on the list beside the dataset, so that they were forgotten before."""
    from idiolect.history.dataset import read_dataset
    from idiolect.history.suppress import find_list_beside
    from idiolect.privacy.suppression import SuppressionList

    task = read_dataset(request.data).task
    return SuppressionList(find_list_beside(request.data)).contains_person(request.person, task)


@dataclass(frozen=True, kw_only=True)
class SuppressionListReport:
    """The result of ``edit_suppression_list``."""

    people: int
    """Number of forgotten people on the list, afterwards."""
    records: int
    """Number of forgotten records of other people on the list, afterwards."""
    found: tuple[str, ...]
    """The requested people who are, or were before they were removed, on the list."""


def edit_suppression_list(request: SuppressionListRequest) -> SuppressionListReport:
    """Look people up in a suppression list, or take them off it.

    Args:
        request: The list, and the people.

    Returns:
        The size of the list, and which of the people it has or had.

    Raises:
        MissingError: If there is no such list.
        IntegrityError: If the file is not a suppression list.

    Example:
        >>> edit_suppression_list(SuppressionListRequest(file=Path("data/suppressed.json"))).people
        1
    """
    from idiolect.privacy.suppression import SuppressionList

    if not request.file.is_file():
        raise MissingError(f"{request.file}: no such suppression list")
    known = SuppressionList(request.file)
    found = tuple(p for p in request.people if known.contains_any(p, request.task))
    for person in found if request.remove else ():
        known.remove_person(person, request.task)
    return SuppressionListReport(people=known.people_count, records=known.record_count, found=found)
