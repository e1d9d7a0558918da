"""Losses of bases and adapters on given examples, token by token, without training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from idiolect.adapters.protocol import Adapter
from idiolect.adapters.row_groups import RowGrouper
from idiolect.inference.nll import compute_target_scores
from idiolect.inference.people_stack import PeopleStack
from idiolect.models.base import Base
from idiolect.prompts.batch import collate
from idiolect.prompts.render import Example

PersonExample = tuple[str, Example]
"""A person and one of their examples."""


@dataclass(frozen=True, slots=True)
class TokenScore:
    """The loss of one target token."""

    row: int
    """The number of the row that the token belongs to."""
    loss: float
    """In nats."""
    count: float
    """How often the token counts."""
    is_top: bool
    """Whether it is the model's most likely token, which greedy decoding would choose."""


@torch.no_grad()
def iter_token_scores(
    base: Base,
    rows: Sequence[PersonExample],
    adapters: Mapping[str, Adapter],
    *,
    forward_tokens: int,
) -> Iterator[TokenScore]:
    """Yield the score of each target token, with the person's adapter if there is one.

    The tokens of one row come in their order. Each forward has at most ``forward_tokens`` tokens.
    The batches do not depend on who has an adapter, so an adapter that changes nothing gives
    exactly the base's losses. Raises NotFiniteError at the end, after the scores of all others, if
    rows of a person are not finite.
    """
    stack = PeopleStack(base, adapters)
    # None marks rows of people with an unusable adapter, which do not run, and rows whose losses
    # are not finite.
    done: list[bool | None] = [None if person in stack.defects else True for person, _ in rows]
    batches = RowGrouper.for_scoring(base).iter_groups(
        [person for person, _ in rows], [len(e.ids) for _, e in rows], forward_tokens
    )
    for batched in batches:
        group = [n for n in batched if done[n]]
        if not group:
            continue
        chosen = [rows[i] for i in group]
        batch = collate([e for _, e in chosen], pad=base.pad_token_id, device=base.device)
        # Apply each row's adapter; people without one get the bare base.
        prompts = [e.ids[: e.answer_start] for _, e in chosen]
        with stack.activate([p for p, _ in chosen], prompts, batch.ids.shape[1] - 1):
            nll, is_top = compute_target_scores(base.model, batch)
        columns = (batch.row.tolist(), nll.tolist(), batch.count.tolist(), is_top.tolist())
        for row, loss, count, top in zip(*columns, strict=True):
            if math.isfinite(loss):
                yield TokenScore(group[row], loss, count, top)
            else:
                done[group[row]] = None
    stack.require_finite([person for person, _ in rows], done)


def iter_token_losses(
    base: Base,
    rows: Sequence[PersonExample],
    adapters: Mapping[str, Adapter],
    *,
    forward_tokens: int,
) -> Iterator[tuple[int, float, float]]:
    """Yield (row, loss in nats, how often the token counts) of each target token, as
    ``iter_token_scores``."""
    for one in iter_token_scores(base, rows, adapters, forward_tokens=forward_tokens):
        yield one.row, one.loss, one.count


def compute_item_losses(
    base: Base,
    rows: Sequence[PersonExample],
    adapters: Mapping[str, Adapter],
    *,
    forward_tokens: int,
) -> list[float]:
    """Return each row's mean loss per target token in nats, with the person's adapter if there is
    one; raises NotFiniteError as ``iter_token_scores`` does."""
    # Mean over target tokens, each weighted by its count.
    total, weight = [0.0] * len(rows), [0.0] * len(rows)
    for row, value, count in iter_token_losses(base, rows, adapters, forward_tokens=forward_tokens):
        total[row] += value * count
        weight[row] += count
    return [nats / tokens for nats, tokens in zip(total, weight, strict=True)]
