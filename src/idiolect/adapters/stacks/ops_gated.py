"""Forward and backward of many people's gated LoRA at one module (Per-Pcs).

Computes ``out_i + scale * sigmoid(x_i . g_u) * B_u A_u x_i`` for row ``i`` of slot ``u``, with one
sigmoid per token. Only gates are trained: their gradients are added to the stack's buffer directly,
and A and B are frozen.

Shapes: ``U`` slots, ``B`` rows of a batch, ``T`` tokens, ``D``/``O`` input and output width of the
module, ``R`` rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from idiolect.adapters.stacks.ops_padded import SlotIndex


@dataclass(frozen=True, slots=True)
class GatedLoraWeights:
    """One module's gates g [U, D], A [U, R, D] and B [U, O, R], all in the base's dtype."""

    gate: Tensor
    a: Tensor
    b: Tensor
    grad: Tensor | None = None
    """The buffer for the gates' gradients [U, D], in the stack's dtype."""

    def compute_gates(self, x: Tensor, rows: SlotIndex) -> tuple[Tensor, Tensor]:
        """Return ``A x`` [B, T, R] and ``sigmoid(x . g)`` [B, T, 1], both in fp32 or wider: bf16
        would lose the effect of gates near 0."""
        hidden_BTR = torch.bmm(x, self.a.index_select(0, rows.slot).transpose(1, 2))
        dots_BT1 = torch.bmm(x, self.gate.index_select(0, rows.slot)[:, :, None])
        return _upcast(hidden_BTR), torch.sigmoid(_upcast(dots_BT1))


def _upcast(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def gated_lora_forward(out: Tensor, x: Tensor, module: GatedLoraWeights, rows: SlotIndex) -> Tensor:
    """Return ``out`` [B, T, O] plus each row's gated update of ``x`` [B, T, D], without
    gradients."""
    return _add_gated_update(out, *module.compute_gates(x, rows), module, rows)


def _add_gated_update(
    out: Tensor, hidden_BTR: Tensor, gate_BT1: Tensor, module: GatedLoraWeights, rows: SlotIndex
) -> Tensor:
    gated_BTR = (hidden_BTR * gate_BT1 * rows.compute_token_scale(hidden_BTR)).to(out.dtype)
    return torch.baddbmm(out, gated_BTR, module.b.index_select(0, rows.slot).transpose(1, 2))


class _GatedLoraFunction(torch.autograd.Function):
    """``gated_lora_forward`` with gradients.

    ``anchor`` is a leaf that requires grad. Without it, autograd would skip the backward of the
    first adapted layer, because none of its other inputs requires grad.
    """

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, out: Tensor, x: Tensor, module: GatedLoraWeights, rows: SlotIndex
    ) -> Tensor:
        hidden_BTR, gate_BT1 = module.compute_gates(x, rows)
        ctx.save_for_backward(x, hidden_BTR, gate_BT1)
        ctx.module, ctx.rows = module, rows
        return _add_gated_update(out, hidden_BTR, gate_BT1, module, rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (dout_BTO,) = grads
        x_BTD, hidden_BTR, gate_BT1 = ctx.saved_tensors
        module, rows = cast("GatedLoraWeights", ctx.module), cast("SlotIndex", ctx.rows)
        # The gradient with respect to A x: scale * gate * B^T dout.
        dhidden_BTR = _upcast(torch.bmm(dout_BTO, module.b.index_select(0, rows.slot)))
        dhidden_BTR = dhidden_BTR * (gate_BT1 * rows.compute_token_scale(dhidden_BTR))
        # The gradient with respect to x . g. sigmoid' = sigmoid * (1 - sigmoid), and one factor
        # sigmoid is already in ``dhidden_BTR``.
        ddots_BT1 = ((dhidden_BTR * hidden_BTR).sum(-1, keepdim=True) * (1 - gate_BT1)).to(
            x_BTD.dtype
        )
        assert module.grad is not None
        dgate_BD = torch.bmm(ddots_BT1.transpose(1, 2), x_BTD)[:, 0]
        module.grad.index_add_(0, rows.slot, dgate_BD.to(module.grad.dtype))
        dx_BTD = None
        if ctx.needs_input_grad[2]:
            # x acts through A x and through x . g.
            dx_BTD = torch.bmm(dhidden_BTR.to(x_BTD.dtype), module.a.index_select(0, rows.slot))
            dx_BTD = torch.baddbmm(
                dx_BTD, ddots_BT1, module.gate.index_select(0, rows.slot)[:, None]
            )
        return None, dout_BTO, dx_BTD, None, None


def gated_lora_forward_autograd(
    anchor: Tensor, out: Tensor, x: Tensor, module: GatedLoraWeights, rows: SlotIndex
) -> Tensor:
    """``gated_lora_forward`` whose backward adds the gates' gradients to ``module.grad``."""
    return cast("Tensor", _GatedLoraFunction.apply(anchor, out, x, module, rows))
