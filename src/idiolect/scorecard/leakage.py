"""Whether a model gives away what it was made to forget: membership inference, either way round.

Unlearning that overshoots makes forgotten answers *less* likely than answers that were never seen,
and is told by that; so the attack is two-sided (``audit.membership``).
"""

from __future__ import annotations

from collections.abc import Sequence

from idiolect.adapters.protocol import Adapter
from idiolect.audit.membership import LeakageConfig, Membership, Subject, judged
from idiolect.inference.greedy import WHO
from idiolect.inference.scoring import item_losses
from idiolect.models.base import Base
from idiolect.prompts.render import Example

FORWARD_TOKENS = 2048


def losses_of(base: Base, adapter: Adapter | None, examples: Sequence[Example]) -> list[float]:
    """Each example's mean loss a target token, in nats."""
    adapters = {} if adapter is None else {WHO: adapter}
    rows = [(WHO, example) for example in examples]
    return item_losses(base, rows, adapters, forward_tokens=FORWARD_TOKENS)


def membership(
    base: Base,
    adapter: Adapter | None,
    forgotten: Sequence[Example],
    others: Sequence[Example],
    reference: Sequence[float],
    config: LeakageConfig | None = None,
) -> Membership:
    """How well the model's losses tell what was forgotten from others of the kind.

    ``reference``: the losses of the base before, of ``forgotten`` then ``others`` (each example
    once, as ``Subject.parts`` has them).
    """
    subject = Subject(person=WHO, held_in=forgotten, held_out=others)
    examples = [example for part in subject.parts() for example in part]
    found = losses_of(base, adapter, examples)
    pairs = list(zip(reference, found, strict=True))
    return judged(subject, pairs, config or LeakageConfig())
