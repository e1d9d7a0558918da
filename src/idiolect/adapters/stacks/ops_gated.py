"""The arithmetic of gates on many people's LoRA at one module, forward and backward, by hand.

``out_i + scale * sigmoid(x_i . g_u) * B_u A_u x_i`` for row ``i`` of slot ``u``, one sigmoid a
token (Per-Pcs). The gates' gradients go straight into the stack's buffer; A and B are frozen.

Shapes: ``U`` slots, ``B`` rows of a batch, ``T`` tokens, ``D``/``O`` widths in and out, ``R`` rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from idiolect.adapters.stacks.ops_padded import SlotIndex


@dataclass(frozen=True, slots=True)
class GatedLoraWeights:
    """One module's gates g [U, D], A [U, R, D] and B [U, O, R], all in the base's type."""

    gate: Tensor
    a: Tensor
    b: Tensor
    grad: Tensor | None = None
    """Where the gates' gradients are added up [U, D], in the stack's type."""

    def compute_gates(self, x: Tensor, rows: SlotIndex) -> tuple[Tensor, Tensor]:
        """``A x`` [B, T, R] and ``sigmoid(x.g)`` [B, T, 1], wide: near 0 a gate's effect on the
        sigmoid is lost in bf16."""
        hidden = torch.bmm(x, self.a.index_select(0, rows.slot).transpose(1, 2))
        dots = torch.bmm(x, self.gate.index_select(0, rows.slot)[:, :, None])
        return _upcast(hidden), torch.sigmoid(_upcast(dots))


def _upcast(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def gated_lora_forward(out: Tensor, x: Tensor, module: GatedLoraWeights, rows: SlotIndex) -> Tensor:
    """``out`` [B, T, O] with every row's own gated update of ``x`` [B, T, D]; no gradients."""
    return _add_gated_update(out, *module.compute_gates(x, rows), module, rows)


def _add_gated_update(
    out: Tensor, hidden: Tensor, open_: Tensor, module: GatedLoraWeights, rows: SlotIndex
) -> Tensor:
    inner = (hidden * open_ * rows.compute_token_scale(hidden)).to(out.dtype)
    return torch.baddbmm(out, inner, module.b.index_select(0, rows.slot).transpose(1, 2))


class _GatedLoraFunction(torch.autograd.Function):
    """``add_gated`` with gradients. ``anchor`` is a leaf that makes autograd come by where nothing
    else that enters requires gradients."""

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, out: Tensor, x: Tensor, module: GatedLoraWeights, rows: SlotIndex
    ) -> Tensor:
        hidden, open_ = module.compute_gates(x, rows)
        ctx.save_for_backward(x, hidden, open_)
        ctx.module, ctx.rows = module, rows
        return _add_gated_update(out, hidden, open_, module, rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = grads
        x, hidden, open_ = ctx.saved_tensors
        module, rows = cast("GatedLoraWeights", ctx.module), cast("SlotIndex", ctx.rows)
        inner = _upcast(torch.bmm(dy, module.b.index_select(0, rows.slot)))  # [B, T, R]
        inner = inner * (open_ * rows.compute_token_scale(inner))
        # sigmoid' = sigmoid * (1 - sigmoid), and one sigmoid is in ``inner`` already.
        dots = ((inner * hidden).sum(-1, keepdim=True) * (1 - open_)).to(x.dtype)  # [B, T, 1]
        assert module.grad is not None
        by_row = torch.bmm(dots.transpose(1, 2), x)[:, 0]  # [B, D]
        module.grad.index_add_(0, rows.slot, by_row.to(module.grad.dtype))
        dx = None
        if ctx.needs_input_grad[2]:
            dx = torch.bmm(inner.to(x.dtype), module.a.index_select(0, rows.slot))
            dx = torch.baddbmm(dx, dots, module.gate.index_select(0, rows.slot)[:, None])
        return None, dy, dx, None, None


def gated_lora_forward_autograd(
    anchor: Tensor, out: Tensor, x: Tensor, module: GatedLoraWeights, rows: SlotIndex
) -> Tensor:
    """``add_gated``, whose backward adds the gates' gradients to the module's buffer."""
    return cast("Tensor", _GatedLoraFunction.apply(anchor, out, x, module, rows))
