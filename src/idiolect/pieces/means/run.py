"""Runs ``mean``: consent, clipping, noise, the leakage audit, the ledger, and the folder.

The ledger entry is written before the adapter. If the process is killed in between, the ledger has
an entry for a mean that does not exist, but there is never a mean without an entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from idiolect.adapters.arithmetic.directions import AdapterBasis, compute_basis
from idiolect.adapters.arithmetic.mean import average_adapters
from idiolect.adapters.formats.basis import save_basis
from idiolect.adapters.formats.exchange import (
    get_base_name,
    get_invocation_ids,
    merge_provenance,
    require_adapter,
)
from idiolect.adapters.formats.peft import check_destination, save_peft, serialize_weights
from idiolect.adapters.lora import LoraAdapter, require_lora
from idiolect.adapters.store.consent import open_ledger
from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import UsageError
from idiolect.events import Listener, Message, null_listener
from idiolect.pieces.means.audit import audit_mean
from idiolect.pieces.means.clipping import clip_updates, make_private_mean
from idiolect.pieces.means.request import MIN_PEOPLE, PRIVATE_CLIP, MeanRequest
from idiolect.pieces.recipes.sources import open_store
from idiolect.privacy.consent import require_consent
from idiolect.privacy.guarantee import PrivacyGuarantee, round_up_count
from idiolect.privacy.ledger import Detail
from idiolect.training.private.accounting import compute_multiplier, make_guarantee

_MAX_REASON_CHARS = 300
_MAX_NAMED_PEOPLE = 5
_MAX_PEOPLE = 100_000
"""Bounds the delta of a private mean: a constant of 1 / (10 * people)."""


@dataclass(frozen=True, kw_only=True)
class MeanSummary:
    """What was written."""

    folder: Path
    people: int
    clip: float
    """The largest norm that one person's update could have."""
    clipped: int
    """Number of people whose update was shortened to it."""
    directions: int
    leaking: tuple[str, ...]
    """People whose data leak, or could not be measured; a reason overrode it."""
    privacy: PrivacyGuarantee | None
    """The guarantee of a private mean."""
    noise_share: float | None
    """Norm of the noise over the norm of the clipped mean, as expected: above 1, noise is most of
    a private mean."""


def make_mean(request: MeanRequest, *, listener: Listener = null_listener) -> MeanSummary:
    """Implement ``api.mean``."""
    # Stage 1: check what needs no model.
    names, reason = tuple(dict.fromkeys(request.people)), request.override_leakage
    if reason is not None and not 0 < len(reason.strip()) <= _MAX_REASON_CHARS:
        raise UsageError(
            f"override of leakage: the reason must have 1 to {_MAX_REASON_CHARS} characters"
        )
    store = open_store(request.store)
    adapters = [require_lora(require_adapter(store, person)) for person in names]
    if len(names) < MIN_PEOPLE:
        raise UsageError(
            f"people for a mean: {len(names)}; name at least {MIN_PEOPLE} people, because a mean "
            "of few is almost each one's own adapter"
        )
    if request.data is None and reason is None:
        raise UsageError(
            "data: name the dataset that the adapters were trained on (--data), for the leakage "
            "audit"
        )
    ledger = open_ledger(store)
    require_consent(ledger, names, "mean", store=store.folder)
    check_destination(request.out)
    # Stage 2: the mean, of updates that are bounded.
    made = _compute_mean(request, adapters)
    if made.noise_share is not None and made.noise_share > 1:
        text = f"the noise is {made.noise_share:.0f} times as large as the mean of these people"
        listener(Message(text=f"{text}; name more people, or train adapters with fewer numbers"))
    # Stage 3: the audit.
    leaking = audit_mean(request, store, names, made.basis or made.mean, adapters)
    if leaking and reason is None:
        more = f" and {len(leaking) - _MAX_NAMED_PEOPLE} more" if len(leaking) > 5 else ""
        listed = ", ".join(f"{p} ({why})" for p, why in [*leaking.items()][:_MAX_NAMED_PEOPLE])
        raise UsageError(
            f"the leakage audit refuses the mean because of {listed}{more}; leave them out, or "
            "give a reason (--override-leakage)"
        )
    # Stage 4: the ledger, then the folder. An erasure finds the folder by the hash.
    digest = hashlib.sha256(serialize_weights(made.mean)).hexdigest()
    details: dict[str, Detail] = {"scope": "mean", "of": len(names), "sha256": digest}
    if made.basis is not None:
        details["directions"] = made.basis.count
    if made.privacy is not None:
        details |= {"private_epsilon": made.privacy.epsilon, "private_delta": made.privacy.delta}
    if leaking and reason:
        details["overridden"] = reason.strip()
    ledger.record_event("shared", names, details)
    _write_folder(request, store, made, names)
    return MeanSummary(
        folder=request.out,
        people=len(names),
        clip=made.clip,
        clipped=made.clipped,
        directions=made.basis.count if made.basis else 0,
        leaking=tuple(leaking),
        privacy=made.privacy,
        noise_share=made.noise_share,
    )


@dataclass(frozen=True, kw_only=True)
class _ComputedMean:
    """A mean before it is audited and written."""

    mean: LoraAdapter
    clip: float
    clipped: int
    basis: AdapterBasis | None = None
    privacy: PrivacyGuarantee | None = None
    noise_share: float | None = None


def _compute_mean(request: MeanRequest, adapters: Sequence[LoraAdapter]) -> _ComputedMean:
    """Clip the updates, and average them: plainly, with directions, or with noise."""
    if request.private is None:
        some, clip, clipped = clip_updates(adapters, request.clip)
        if not request.directions:
            return _ComputedMean(mean=average_adapters(some), clip=clip, clipped=clipped)
        basis = compute_basis(some, request.directions)
        return _ComputedMean(mean=basis.mean, clip=clip, clipped=clipped, basis=basis)
    # Clip and delta are constants: values taken from these people would reveal something.
    clip, delta = request.clip or PRIVATE_CLIP, 0.1 / _MAX_PEOPLE
    multiplier = compute_multiplier(request.private, delta, 1)
    noisy = make_private_mean(adapters, clip, multiplier)
    privacy = make_guarantee(
        unit="person",
        epsilon=request.private,
        delta=delta,
        mechanism=(multiplier, 1),
        clip=clip,
        rounded_count=round_up_count(len(adapters)),
    )
    return _ComputedMean(
        mean=noisy.mean,
        clip=clip,
        clipped=noisy.clipped,
        privacy=privacy,
        noise_share=noisy.noise_share,
    )


def _write_folder(
    request: MeanRequest, store: AdapterStore, made: _ComputedMean, names: Sequence[str]
) -> None:
    """Write the mean in PEFT's format, with its directions if there are any."""
    about: Mapping[str, Any] = {
        "mean_of": len(names),
        "clip": made.clip,
        **({"privacy": asdict(made.privacy)} if made.privacy else {}),
        **merge_provenance(store, names),
    }
    base_name = get_base_name(store)
    invocation = get_invocation_ids(store, made.mean, request.base)
    if made.basis is not None:
        save_basis(request.out, made.basis, base_name=base_name, invocation=invocation, about=about)
    else:
        save_peft(request.out, made.mean, base_name=base_name, invocation=invocation, about=about)
