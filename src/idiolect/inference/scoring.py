"""Losses of bases and adapters on given examples, token by token, without training."""

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
"""A person and one of their examples."""


@torch.no_grad()
def iter_token_losses(
    base: Base,
    rows: Sequence[PersonExample],
    adapters: Mapping[str, Adapter],
    *,
    forward_tokens: int,
) -> Iterator[tuple[int, float, float]]:
    """Yield the loss of each target token in nats, with the person's adapter if there is one.

    It yields (row, loss, how often the token counts). Each forward has at most ``forward_tokens``
    tokens. The batches do not depend on who has an adapter, so an adapter that changes nothing
    gives exactly the base's losses.
    """
    slots = {person: slot for slot, person in enumerate(adapters)}
    stack = stack_adapters(base, list(adapters.values())) if adapters else None
    for group in batches_within_token_budget([len(e.ids) for _, e in rows], forward_tokens):
        chosen = [rows[i] for i in group]
        batch = collate([e for _, e in chosen], pad=base.pad_token_id, device=base.device)
        # Apply each row's adapter; people without one have slot -1, the bare base.
        if stack is None:
            nll = compute_target_nll(base.model, batch)
        else:
            prompts = [e.ids[: e.answer_start] for _, e in chosen]
            active = stack.token_mask(prompts, batch.ids.shape[1] - 1)
            owners = slots_of([p for p, _ in chosen], slots, base.device)
            with stack.activate(owners, active=active):
                nll = compute_target_nll(base.model, batch)
        found = zip(batch.row.tolist(), nll.tolist(), batch.count.tolist(), strict=True)
        yield from ((group[row], value, count) for row, value, count in found)


def compute_item_losses(
    base: Base,
    rows: Sequence[PersonExample],
    adapters: Mapping[str, Adapter],
    *,
    forward_tokens: int,
) -> list[float]:
    """Return each row's mean loss per target token in nats, with the person's adapter if there is
    one."""
    # Mean over target tokens, each weighted by its count.
    total, weight = [0.0] * len(rows), [0.0] * len(rows)
    for row, value, count in iter_token_losses(base, rows, adapters, forward_tokens=forward_tokens):
        total[row] += value * count
        weight[row] += count
    return [nats / tokens for nats, tokens in zip(total, weight, strict=True)]
