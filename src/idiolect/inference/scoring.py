"""What bases and adapters lose on given examples, token by token; trains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.protocol import Adapter
from idiolect.adapters.stacks.base import slots_of
from idiolect.inference.nll import compute_target_nll
from idiolect.models.base import Base
from idiolect.prompts.batch import batches_within_token_budget, collate
from idiolect.prompts.render import Example

PersonExample = tuple[str, Example]
"""An example and whose it is."""


@torch.no_grad()
def iter_token_losses(
    base: Base,
    rows: Sequence[PersonExample],
    adapters: Mapping[str, Adapter],
    *,
    forward_tokens: int,
) -> Iterator[tuple[int, float, float]]:
    """The loss of every target token in nats, with its person's adapter where they have one.

    Gives (row, loss, how often the token counts), a forward of at most ``forward_tokens`` tokens
    after the other. The forwards are the same whoever has an adapter, so that an adapter that
    changes nothing gives the base's losses to the last bit.
    """
    slots = {person: slot for slot, person in enumerate(adapters)}
    stack = stack_adapters(base, list(adapters.values())) if adapters else None
    for parcel in batches_within_token_budget([len(e.ids) for _, e in rows], forward_tokens):
        chosen = [rows[i] for i in parcel]
        batch = collate([e for _, e in chosen], pad=base.pad_token_id, device=base.device)
        if stack is None:
            nll = compute_target_nll(base.model, batch)
        else:
            prompts = [e.ids[: e.answer_start] for _, e in chosen]
            active = stack.token_mask(prompts, batch.ids.shape[1] - 1)
            owners = slots_of([p for p, _ in chosen], slots, base.device)
            with stack.activate(owners, active=active):
                nll = compute_target_nll(base.model, batch)
        found = zip(batch.row.tolist(), nll.tolist(), batch.count.tolist(), strict=True)
        yield from ((parcel[row], value, count) for row, value, count in found)


def compute_item_losses(
    base: Base,
    rows: Sequence[PersonExample],
    adapters: Mapping[str, Adapter],
    *,
    forward_tokens: int,
) -> list[float]:
    """Each row's mean loss a target token in nats, with its person's adapter if they have one."""
    total, weight = [0.0] * len(rows), [0.0] * len(rows)
    for row, value, count in iter_token_losses(base, rows, adapters, forward_tokens=forward_tokens):
        total[row] += value * count
        weight[row] += count
    return [nats / tokens for nats, tokens in zip(total, weight, strict=True)]
