"""Forgetting people, or some of their records, wherever something of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from idiolect.errors import UsageError
from idiolect.events import Listener, silent

if TYPE_CHECKING:
    from idiolect.erasure.forget import ForgetConfig
    from idiolect.erasure.receipt import Receipt
    from idiolect.unlearning.run import UnlearnConfig


def forget(
    data: Path,
    adapters: Path,
    person: str,
    *,
    records: Sequence[str] = (),
    gone: Path | None = None,
    within: Sequence[Path] = (),
    base: str | None = None,
    profiles: Path | None = None,
    config: ForgetConfig | None = None,
    negating: UnlearnConfig | None = None,
    verify: bool = False,
    dry_run: bool = False,
    wait: bool = True,
    listener: Listener = silent,
) -> Receipt:
    """Forget a person, or their ``records`` (ids), in a dataset, in a store of adapters, and in
    everything below the folders ``within``.

    Without ``within`` the folders that ``data`` and ``adapters`` lie in are looked through. Records
    are forgotten exactly: the adapter is trained anew on what is left, to the same bytes as if they
    had never been there. ``gone``: a file of prompts and responses that the adapter was trained on
    and ``data`` holds no more; the adapter is negated (as ``negating`` says) and keeps its rank,
    what followed from it is treated as with records, and training anew remains the exact way. Gone
    are rows in datasets, words inside others' histories, profiles,
    adapters and copies of them, pieces in pools, recipes, exports, reports, caches, and the way
    from the person to their pseudonym in ledgers. What others have that followed from their words
    is made anew or taken away. ``verify`` looks through every byte afterwards; what is found stands
    in the receipt's ``left``. ``dry_run`` says what there is and changes nothing. After a kill at
    any moment the same call finishes. Raises MissingError where nothing of them is there, or a
    record is not; UsageError where negation is not what is wanted, or fails: nothing is changed.
    """
    from idiolect.erasure.deleted_records import ForgettingGone
    from idiolect.erasure.forget import ForgetConfig, Forgetting
    from idiolect.evaluation.erasure import Answers, CachedBases, Reports
    from idiolect.unlearning.run import UnlearnConfig

    if gone is not None and records:
        raise UsageError(
            "records that are in the data, and others that are gone from it, are forgotten one "
            "after the other: say --records or --gone"
        )
    forgetting = Forgetting(
        data=data,
        adapters=adapters,
        person=person,
        records=tuple(dict.fromkeys(records)),
        within=tuple(within),
        config=config or ForgetConfig(),
        base=base,
        profiles=profiles,
        holders=(Reports(), Answers(), CachedBases()),
        wait=wait,
        listener=listener,
    )
    if gone is not None:
        same = {one.name: getattr(forgetting, one.name) for one in fields(forgetting)}
        forgetting = ForgettingGone(**same, gone=gone, negating=negating or UnlearnConfig())
    return forgetting.run(verify=verify, dry_run=dry_run)
