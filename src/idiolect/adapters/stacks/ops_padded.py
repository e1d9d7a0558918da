"""Forward and backward of many people's LoRA at one module, on padded rows.

Computes ``out_i + scale * B_u A_u x_i`` for row ``i`` of slot ``u``. The backward is written by
hand and adds gradients to the stack's buffers directly. Autograd would keep a copy of each matrix
for each row and add up in bf16.

Shapes: ``U`` slots, ``B`` rows of a batch, ``T`` tokens, ``D``/``O`` input and output width of the
module, ``R`` rank.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class SlotIndex:
    """The slot of each row, and the tokens on which adapters act."""

    slot: Tensor
    """Each row's slot [B], long; the zero slot for rows of the bare base."""
    scale: Tensor
    """The factor of all updates [1, 1, 1]."""
    token_mask: Tensor | None = None
    """[B, T, 1], 1 on tokens where the adapter acts; None for all. A forward of another length is a
    later step of generation: the adapter acts on all tokens after the prompt. With a cache, those
    are all of the forward; without, the forward is longer, as it repeats the prompt."""

    def compute_token_scale(self, like: Tensor) -> Tensor:
        """Return the factor of each token's update [1, 1, 1] or [B, T, 1], in the dtype of
        ``like`` [B, T, R]."""
        scale = self.scale.to(like.dtype)
        # The whole row, or a later step of generation with a cache (see ``token_mask``).
        if self.token_mask is None or self.token_mask.shape[1] > like.shape[1]:
            return scale
        mask_BT1 = self.token_mask
        if mask_BT1.shape[1] < like.shape[1]:
            later = like.shape[1] - mask_BT1.shape[1]
            mask_BT1 = torch.nn.functional.pad(mask_BT1, (0, 0, 0, later), value=1.0)
        return scale * mask_BT1.to(like.dtype)


def run_as_one_row(run: Callable[..., Tensor], out: Tensor, x: Tensor, rows: SlotIndex) -> Tensor:
    """Return ``run(out, x, rows)`` in the shape of ``out``, for the input ``x`` [..., D] and output
    [..., O] of a module that does not keep the rows of a batch apart. All rows must belong to one
    slot, so all tokens form one row of it."""
    assert rows.token_mask is None
    one_row = replace(rows, slot=rows.slot[:1])
    found_1NO = run(out.reshape(1, -1, out.shape[-1]), x.reshape(1, -1, x.shape[-1]), one_row)
    return found_1NO.view(out.shape)


@dataclass(frozen=True, slots=True)
class LoraWeights:
    """One module's adapters: A [U, R, D] and B [U, O, R] in the base's dtype."""

    a: Tensor
    b: Tensor
    grad_a: Tensor | None = None
    """The buffer for A's gradients [U, R, D], in the stack's dtype; None if A is frozen."""
    grad_b: Tensor | None = None
    """The buffer for B's gradients [U, O, R]."""


def lora_forward(out: Tensor, x: Tensor, pair: LoraWeights, rows: SlotIndex) -> Tensor:
    """Return ``out`` [B, T, O] plus each row's update of ``x`` [B, T, D], without gradients."""
    hidden_BTR = torch.bmm(x, pair.a.index_select(0, rows.slot).transpose(1, 2))
    hidden_BTR = hidden_BTR * rows.compute_token_scale(hidden_BTR)
    return torch.baddbmm(out, hidden_BTR, pair.b.index_select(0, rows.slot).transpose(1, 2))


class _LoraFunction(torch.autograd.Function):
    """``lora_forward`` with gradients.

    ``anchor`` is a leaf that requires grad. Without it, autograd would skip the backward of the
    first adapted layer, because none of its other inputs requires grad.
    """

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, out: Tensor, x: Tensor, pair: LoraWeights, rows: SlotIndex
    ) -> Tensor:
        hidden_BTR = torch.bmm(x, pair.a.index_select(0, rows.slot).transpose(1, 2))
        hidden_BTR = hidden_BTR * rows.compute_token_scale(hidden_BTR)
        ctx.save_for_backward(x, hidden_BTR)
        ctx.pair, ctx.rows = pair, rows
        return torch.baddbmm(out, hidden_BTR, pair.b.index_select(0, rows.slot).transpose(1, 2))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (dout_BTO,) = grads
        x_BTD, hidden_BTR = ctx.saved_tensors
        pair, rows = cast("LoraWeights", ctx.pair), cast("SlotIndex", ctx.rows)
        if pair.grad_b is not None:
            # The scale of B's gradient is already in ``hidden_BTR``. Rows of one slot add up.
            db_BOR = torch.bmm(hidden_BTR.transpose(1, 2), dout_BTO).transpose(1, 2)
            pair.grad_b.index_add_(0, rows.slot, db_BOR.to(pair.grad_b.dtype))
        dhidden_BTR = torch.bmm(dout_BTO, pair.b.index_select(0, rows.slot))
        dhidden_BTR = dhidden_BTR * rows.compute_token_scale(dhidden_BTR)
        if pair.grad_a is not None:
            da_BRD = torch.bmm(dhidden_BTR.transpose(1, 2), x_BTD)
            pair.grad_a.index_add_(0, rows.slot, da_BRD.to(pair.grad_a.dtype))
        dx_BTD = None
        if ctx.needs_input_grad[2]:
            dx_BTD = torch.bmm(dhidden_BTR, pair.a.index_select(0, rows.slot))
        return None, dout_BTO, dx_BTD, None, None


def lora_forward_autograd(
    anchor: Tensor, out: Tensor, x: Tensor, pair: LoraWeights, rows: SlotIndex
) -> Tensor:
    """``lora_forward`` whose backward adds the gradients of A and B to the pair's buffers."""
    return cast("Tensor", _LoraFunction.apply(anchor, out, x, pair, rows))
