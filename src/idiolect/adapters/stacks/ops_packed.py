"""The arithmetic of many people's LoRA on tokens without padding, sorted by slot: grouped products.

Every slot's tokens lie together, so each product is one of many [tokens of a slot] x [matrix of the
slot], which GPUs run as one. ``out_t + scale * B_u A_u x_t`` for token ``t`` of slot ``u``; as in
``grouped.py`` gradients go straight into the buffers of the stack.

Shapes: ``N`` tokens, ``G`` slots that have some, ``D``/``O`` widths in and out, ``R`` rank; ``K``
and ``M`` any widths.
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
"""Bytes by which the kernels want every matrix and each of its rows to begin."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenGroups:
    """Whose tokens stand where: those of one slot behind another's."""

    slot: Tensor
    """The slots that have tokens [G], long, each once."""
    sizes: tuple[int, ...]
    """How many tokens each of them has, at least one."""
    end_offsets: Tensor
    """Behind the last token of each [G], int32."""
    scale: float
    """What each update is multiplied with."""

    @classmethod
    def from_slots(
        cls, slots: Sequence[int], sizes: Sequence[int], scale: float, like: Tensor
    ) -> TokenGroups:
        """From slots (each once) and the number of their tokens, on the device of ``like``."""
        assert len(set(slots)) == len(slots) and all(sizes)
        return cls(
            torch.tensor(slots, device=like.device),
            tuple(sizes),
            torch.tensor(sizes).cumsum(0).to(like.device, torch.int32),
            scale,
        )


def packed_lora_forward(out: Tensor, x: Tensor, pair: LoraWeights, tokens: TokenGroups) -> Tensor:
    """``out`` [N, O] with every token's own update of ``x`` [N, D]; no gradients."""
    return _compute_forward(out, x, pair, tokens)[0]


class _PackedLoraFunction(torch.autograd.Function):
    """``add_lora_to_tokens`` with gradients. ``anchor`` is a leaf that makes autograd come by where
    nothing else that enters requires gradients."""

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, out: Tensor, x: Tensor, pair: LoraWeights, tokens: TokenGroups
    ) -> Tensor:
        out, hidden = _compute_forward(out, x, pair, tokens)
        ctx.save_for_backward(x, hidden)
        ctx.pair, ctx.tokens = pair, tokens
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        dy = grads[0].contiguous()  # an expanded one has no strides that kernels take
        x, hidden = ctx.saved_tensors
        pair, tokens = cast("LoraWeights", ctx.pair), cast("TokenGroups", ctx.tokens)
        if pair.grad_b is not None:
            found = grouped_matmul_transposed(dy, hidden, tokens)  # [G, O, R]
            pair.grad_b.index_add_(0, tokens.slot, found.to(pair.grad_b.dtype))
        inner = (
            grouped_matmul(dy, pair.b.index_select(0, tokens.slot), tokens) * tokens.scale
        )  # [N, R]
        if pair.grad_a is not None:
            found = grouped_matmul_transposed(inner, x, tokens)  # [G, R, D]
            pair.grad_a.index_add_(0, tokens.slot, found.to(pair.grad_a.dtype))
        dx = None
        if ctx.needs_input_grad[2]:
            dx = grouped_matmul(inner, pair.a.index_select(0, tokens.slot), tokens)
        return None, dy, dx, None, None


def packed_lora_forward_autograd(
    anchor: Tensor, out: Tensor, x: Tensor, pair: LoraWeights, tokens: TokenGroups
) -> Tensor:
    """``add_lora_to_tokens``, whose backward adds A's and B's gradients to the pair's buffers."""
    return cast("Tensor", _PackedLoraFunction.apply(anchor, out, x, pair, tokens))


def _compute_forward(
    out: Tensor, x: Tensor, pair: LoraWeights, tokens: TokenGroups
) -> tuple[Tensor, Tensor]:
    """The updated output [N, O], and the scaled ``A x`` [N, R]."""
    a = pair.a.index_select(0, tokens.slot).transpose(1, 2)
    b = pair.b.index_select(0, tokens.slot).transpose(1, 2)
    hidden = grouped_matmul(x, a, tokens) * tokens.scale
    return out + grouped_matmul(hidden, b, tokens), hidden


def grouped_matmul(x: Tensor, matrices: Tensor, tokens: TokenGroups) -> Tensor:
    """Every slot's tokens [N, K] times its matrix [G, K, M]: [N, M]."""
    if can_use_grouped_mm(x, matrices):
        return grouped_mm(x, matrices, offs=tokens.end_offsets)
    parts = zip(x.split(tokens.sizes), matrices, strict=True)
    return torch.cat([part @ matrix for part, matrix in parts])


def grouped_matmul_transposed(one: Tensor, other: Tensor, tokens: TokenGroups) -> Tensor:
    """Every slot's sum over its tokens of ``one`` [N, K] times ``other`` [N, M]: [G, K, M]."""
    if can_use_grouped_mm(one.T, other):
        return grouped_mm(one.T, other, offs=tokens.end_offsets)
    parts = zip(one.split(tokens.sizes), other.split(tokens.sizes), strict=True)
    return torch.stack([a.T @ b for a, b in parts])


def can_use_grouped_mm(*matrices: Tensor) -> bool:
    """Whether torch multiplies these in groups: of a type it knows, laid out as kernels want it.

    On CUDA it does so for bf16 alone (Ampere and later); others it would take apart by offsets that
    it has to ask the device for, which a loop over known sizes need not.
    """
    kind, device = matrices[0].dtype, matrices[0].device
    if device.type == "cuda":
        known = kind == torch.bfloat16 and torch.cuda.get_device_capability(device) >= (8, 0)
    else:
        known = device.type == "cpu" and kind in (torch.bfloat16, torch.float32)
    return known and all(map(_is_aligned, matrices))


def _is_aligned(matrix: Tensor) -> bool:
    *outer, rows, columns = matrix.stride()
    if 1 not in (rows, columns):
        return False
    strides = (*outer, rows if columns == 1 else columns)
    size = matrix.element_size()
    return matrix.data_ptr() % ALIGNMENT_BYTES == 0 and all(
        s * size % ALIGNMENT_BYTES == 0 for s in strides
    )
