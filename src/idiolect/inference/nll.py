"""Negative log likelihood of target tokens only, computed where they are predicted.

The output head is the largest matrix of a small model, so it is applied to the predicting
positions alone, never to prompts or padding.

Shapes: ``N`` target tokens, ``D`` the model's width, ``V`` its vocabulary.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from idiolect.models.base import compute_logits
from idiolect.prompts.batch import Batch

LOGIT_CHUNK_TOKENS = 128
"""Target tokens whose logits are there at once. On two cores whole batches of logits, which do not
stay in the caches, took 1.7 times as long; so did autograd's way to their gradient."""


def compute_target_logits(model: Any, batch: Batch) -> Tensor:
    """Logits [N, V] at the positions that predict the batch's target tokens.

    The last column is left out: it predicts nothing.
    """
    hidden = model.get_decoder()(input_ids=batch.ids[:, :-1], use_cache=False).last_hidden_state
    return compute_logits(model, hidden[batch.row, batch.position])


def compute_target_nll(model: Any, batch: Batch) -> Tensor:
    """Negative log likelihood of each target token [N], in nats, fp32 or wider."""
    return _compute_nll(compute_target_logits(model, batch), batch.label)


def nll_from_hidden(model: Any, hidden: Tensor, label: Tensor) -> Tensor:
    """The same from the hidden states [N, D] that predict the labels [N], some at a time.

    Backward goes to the hidden states alone: the head is frozen, so their gradient is there as
    soon as their logits are, and no logits are kept.
    """
    return cast("Tensor", _HiddenNllFunction.apply(hidden, label, model))


class _HiddenNllFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, label: Tensor, model: Any) -> Tensor:
        found: list[Tensor] = []
        gradients: list[Tensor] = []
        for some, theirs in zip(
            hidden.split(LOGIT_CHUNK_TOKENS), label.split(LOGIT_CHUNK_TOKENS), strict=True
        ):
            some = some.detach().requires_grad_(ctx.needs_input_grad[0])
            with torch.set_grad_enabled(ctx.needs_input_grad[0]):
                logits = compute_logits(model, some)
            scores = torch.log_softmax(logits.detach(), dim=-1, dtype=_pick_wide_dtype(logits))
            found.append(-scores.gather(1, theirs[:, None])[:, 0])
            if ctx.needs_input_grad[0]:
                slope = scores.exp_()  # d nll / d logits: probabilities, one less at the label
                slope[torch.arange(len(theirs), device=slope.device), theirs] -= 1
                gradients += torch.autograd.grad(logits, some, slope.to(logits.dtype))
        ctx.save_for_backward(*gradients)
        return torch.cat(found)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gradients = torch.cat(ctx.saved_tensors)
        return gradients * grads[0][:, None].to(gradients.dtype), None, None


def _compute_nll(logits: Tensor, label: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(
        logits.to(_pick_wide_dtype(logits)), label, reduction="none"
    )


def _pick_wide_dtype(logits: Tensor) -> torch.dtype:
    """fp32, or fp64 for a base in it."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32
