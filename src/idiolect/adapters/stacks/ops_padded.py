"""The arithmetic of many people's LoRA at one module, forward and backward, by hand.

``out_i + scale * B_u A_u x_i`` for row ``i`` of slot ``u``. Gradients go straight into the buffers
of the stack: autograd would hold a copy of every matrix for every row, and add up in bf16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SlotIndex:
    """Whose rows they are, and on which of their tokens adapters act."""

    slot: Tensor
    """Each row's slot [B], long; the bare base's rows name any."""
    scale: Tensor
    """What each row's update is multiplied with [B, 1, 1]; 0 for the bare base."""
    token_mask: Tensor | None = None
    """[B, T, 1], 1 where the adapter acts; ``None`` everywhere. A forward of another length is a
    later step of generation, whose tokens stand behind: there it acts."""

    def compute_token_scale(self, like: Tensor) -> Tensor:
        """What the update of every token is multiplied with [B, 1 or T, 1], as ``like``."""
        scale = self.scale.to(like.dtype)
        if self.token_mask is None or self.token_mask.shape[1] != like.shape[1]:
            return scale
        return scale * self.token_mask.to(like.dtype)


@dataclass(frozen=True, slots=True)
class LoraWeights:
    """One module's adapters: A [U, R, D] and B [U, O, R] in the base's type."""

    a: Tensor
    b: Tensor
    grad_a: Tensor | None = None
    """Where gradients are added up [U, R, D] in the stack's type; ``None`` where A is frozen."""
    grad_b: Tensor | None = None


def lora_forward(out: Tensor, x: Tensor, pair: LoraWeights, rows: SlotIndex) -> Tensor:
    """``out`` [B, T, O] with every row's own update of ``x`` [B, T, D]; no gradients."""
    hidden = torch.bmm(x, pair.a.index_select(0, rows.slot).transpose(1, 2))
    hidden = hidden * rows.compute_token_scale(hidden)
    return torch.baddbmm(out, hidden, pair.b.index_select(0, rows.slot).transpose(1, 2))


class _LoraFunction(torch.autograd.Function):
    """``add_lora`` with gradients. ``anchor`` is a leaf that makes autograd come by where nothing
    else that enters requires gradients."""

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, out: Tensor, x: Tensor, pair: LoraWeights, rows: SlotIndex
    ) -> Tensor:
        hidden = torch.bmm(x, pair.a.index_select(0, rows.slot).transpose(1, 2))
        hidden = hidden * rows.compute_token_scale(hidden)
        ctx.save_for_backward(x, hidden)
        ctx.pair, ctx.rows = pair, rows
        return torch.baddbmm(out, hidden, pair.b.index_select(0, rows.slot).transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = grads
        x, hidden = ctx.saved_tensors
        pair, rows = cast("LoraWeights", ctx.pair), cast("SlotIndex", ctx.rows)
        if pair.grad_b is not None:
            by_row = torch.bmm(hidden.transpose(1, 2), dy).transpose(1, 2)  # [B, O, R]
            pair.grad_b.index_add_(0, rows.slot, by_row.to(pair.grad_b.dtype))
        inner = torch.bmm(dy, pair.b.index_select(0, rows.slot))  # [B, T, R]
        inner = inner * rows.compute_token_scale(inner)
        if pair.grad_a is not None:
            by_row = torch.bmm(inner.transpose(1, 2), x)  # [B, R, D]
            pair.grad_a.index_add_(0, rows.slot, by_row.to(pair.grad_a.dtype))
        dx = None
        if ctx.needs_input_grad[2]:
            dx = torch.bmm(inner, pair.a.index_select(0, rows.slot))
        return None, dy, dx, None, None


def lora_forward_autograd(
    anchor: Tensor, out: Tensor, x: Tensor, pair: LoraWeights, rows: SlotIndex
) -> Tensor:
    """``add_lora``, whose backward adds A's and B's gradients to the pair's buffers."""
    return cast("Tensor", _LoraFunction.apply(anchor, out, x, pair, rows))
