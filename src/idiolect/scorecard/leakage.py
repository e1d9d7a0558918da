"""Measures by membership inference whether a model reveals what it was made to forget.

Unlearning that overshoots makes forgotten answers *less* likely than answers that were never seen,
which also gives them away. The attack is therefore two-sided (``audit.membership``).
"""

from __future__ import annotations

from collections.abc import Sequence

from idiolect.adapters.protocol import Adapter
from idiolect.audit.config import LeakageConfig
from idiolect.audit.membership import MembershipResult, evaluate
from idiolect.audit.subject import AuditSubject
from idiolect.inference.greedy import MODEL_ID
from idiolect.inference.scoring import compute_item_losses
from idiolect.models.base import Base
from idiolect.prompts.render import Example

FORWARD_TOKENS = 2048


def compute_losses(base: Base, adapter: Adapter | None, examples: Sequence[Example]) -> list[float]:
    """Return each example's mean loss per target token, in nats."""
    adapters = {} if adapter is None else {MODEL_ID: adapter}
    rows = [(MODEL_ID, example) for example in examples]
    return compute_item_losses(base, rows, adapters, forward_tokens=FORWARD_TOKENS)


def measure_membership(
    base: Base,
    adapter: Adapter | None,
    forgotten: Sequence[Example],
    others: Sequence[Example],
    reference: Sequence[float],
    config: LeakageConfig | None = None,
) -> MembershipResult:
    """Measure how well the model's losses separate forgotten examples from similar ones that it
    never saw.

    ``reference`` holds the losses of the base, of ``forgotten`` then ``others`` (each example once,
    in the order of ``AuditSubject.split_members``).
    """
    subject = AuditSubject(person=MODEL_ID, members=forgotten, non_members=others)
    # The order of ``reference`` is that of ``split_members``.
    examples = [example for part in subject.split_members() for example in part]
    found = compute_losses(base, adapter, examples)
    pairs = list(zip(reference, found, strict=True))
    return evaluate(subject, pairs, config or LeakageConfig())
