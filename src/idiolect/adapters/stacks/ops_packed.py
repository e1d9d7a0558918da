"""Forward and backward of many people's LoRA on tokens without padding, sorted by slot.

Computes ``out_t + scale * B_u A_u x_t`` for token ``t`` of slot ``u``. The tokens of each slot are
contiguous, so each product is a grouped matrix product ([tokens of a slot] x [matrix of the slot]),
which GPUs run as one kernel. As in ``ops_padded.py``, gradients are added to the stack's buffers
directly.

Shapes: ``N`` tokens, ``G`` slots that have tokens, ``U`` all slots, ``D``/``O`` input and output
width of the module, ``R`` rank; ``K`` and ``M`` any widths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import grouped_mm

from idiolect.adapters.stacks.ops_padded import LoraWeights

ALIGNMENT_BYTES = 16
"""The kernels need each matrix and each of its rows to start at a multiple of this."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenGroups:
    """The tokens of each slot: the groups are contiguous, one after another."""

    slot: Tensor
    """The slots that have tokens [G], long, each once."""
    sizes: tuple[int, ...]
    """The number of tokens of each of these slots, at least one."""
    end_offsets: Tensor
    """The index after the last token of each group [G], int32."""
    scale: float
    """The factor of each update."""

    @classmethod
    def from_slots(
        cls, slots: Sequence[int], sizes: Sequence[int], scale: float, like: Tensor
    ) -> TokenGroups:
        """Build the groups from slots (each once) and their token counts, on the device of
        ``like``."""
        assert len(set(slots)) == len(slots) and all(sizes)
        return cls(
            torch.tensor(slots, device=like.device),
            tuple(sizes),
            torch.tensor(sizes).cumsum(0).to(like.device, torch.int32),
            scale,
        )


def packed_lora_forward(out: Tensor, x: Tensor, pair: LoraWeights, tokens: TokenGroups) -> Tensor:
    """Return ``out`` [N, O] plus each token's update of ``x`` [N, D], without gradients."""
    return _compute_forward(out, x, pair, tokens)[0]


class _PackedLoraFunction(torch.autograd.Function):
    """``packed_lora_forward`` with gradients; ``anchor`` as in ``ops_padded.py``."""

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, out: Tensor, x: Tensor, pair: LoraWeights, tokens: TokenGroups
    ) -> Tensor:
        out, hidden_NR = _compute_forward(out, x, pair, tokens)
        ctx.save_for_backward(x, hidden_NR)
        ctx.pair, ctx.tokens = pair, tokens
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        dout_NO = grads[0].contiguous()  # the kernels do not support the strides of expanded ones
        x_ND, hidden_NR = ctx.saved_tensors
        pair, tokens = cast("LoraWeights", ctx.pair), cast("TokenGroups", ctx.tokens)
        if pair.grad_b is not None:
            # The scale of B's gradient is already in ``hidden_NR``.
            db_GOR = grouped_matmul_transposed(dout_NO, hidden_NR, tokens)
            pair.grad_b.index_add_(0, tokens.slot, db_GOR.to(pair.grad_b.dtype))
        dhidden_NR = (
            grouped_matmul(dout_NO, pair.b.index_select(0, tokens.slot), tokens) * tokens.scale
        )
        if pair.grad_a is not None:
            da_GRD = grouped_matmul_transposed(dhidden_NR, x_ND, tokens)
            pair.grad_a.index_add_(0, tokens.slot, da_GRD.to(pair.grad_a.dtype))
        dx_ND = None
        if ctx.needs_input_grad[2]:
            dx_ND = grouped_matmul(dhidden_NR, pair.a.index_select(0, tokens.slot), tokens)
        return None, dout_NO, dx_ND, None, None


def packed_lora_forward_autograd(
    anchor: Tensor, out: Tensor, x: Tensor, pair: LoraWeights, tokens: TokenGroups
) -> Tensor:
    """``packed_lora_forward`` whose backward adds the gradients of A and B to the pair's
    buffers."""
    return cast("Tensor", _PackedLoraFunction.apply(anchor, out, x, pair, tokens))


def _compute_forward(
    out: Tensor, x: Tensor, pair: LoraWeights, tokens: TokenGroups
) -> tuple[Tensor, Tensor]:
    """Return the updated output [N, O], and ``scale * A x`` [N, R] for the backward."""
    a_GDR = pair.a.index_select(0, tokens.slot).transpose(1, 2)
    b_GRO = pair.b.index_select(0, tokens.slot).transpose(1, 2)
    hidden_NR = grouped_matmul(x, a_GDR, tokens) * tokens.scale
    return out + grouped_matmul(hidden_NR, b_GRO, tokens), hidden_NR


def grouped_matmul(x_NK: Tensor, matrices_GKM: Tensor, tokens: TokenGroups) -> Tensor:
    """Multiply each group's tokens [N, K] with its matrix [G, K, M]; returns [N, M]."""
    if can_use_grouped_mm(x_NK, matrices_GKM):
        return grouped_mm(x_NK, matrices_GKM, offs=tokens.end_offsets)
    parts = zip(x_NK.split(tokens.sizes), matrices_GKM, strict=True)
    return torch.cat([part @ matrix for part, matrix in parts])


def grouped_matmul_transposed(left_NK: Tensor, right_NM: Tensor, tokens: TokenGroups) -> Tensor:
    """Sum, for each group, the outer products of its tokens of ``left`` [N, K] and ``right`` [N,
    M]; return [G, K, M]."""
    if can_use_grouped_mm(left_NK.T, right_NM):
        return grouped_mm(left_NK.T, right_NM, offs=tokens.end_offsets)
    parts = zip(left_NK.split(tokens.sizes), right_NM.split(tokens.sizes), strict=True)
    return torch.stack([a.T @ b for a, b in parts])


def can_use_grouped_mm(*matrices: Tensor) -> bool:
    """Whether torch has a fast grouped product for these matrices: supported dtype, aligned
    strides.

    On CUDA only bf16 is fast (Ampere and later). For other dtypes torch reads the offsets back from
    the device, which the loop over known sizes does not need.
    """
    dtype, device = matrices[0].dtype, matrices[0].device
    # Checking first avoids an error deep inside torch.
    if device.type == "cuda":
        supported = dtype == torch.bfloat16 and torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        supported = device.type == "cpu" and dtype in (torch.bfloat16, torch.float32)
    return supported and all(map(_is_aligned, matrices))


def _is_aligned(matrix: Tensor) -> bool:
    *outer, rows, columns = matrix.stride()
    if 1 not in (rows, columns):
        return False
    strides = (*outer, rows if columns == 1 else columns)
    size = matrix.element_size()
    return matrix.data_ptr() % ALIGNMENT_BYTES == 0 and all(
        s * size % ALIGNMENT_BYTES == 0 for s in strides
    )
