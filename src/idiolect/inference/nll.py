"""Negative log likelihood of target tokens, computed only at the positions that predict them.

The output head is the largest matrix of a small model, so it never runs on prompts or padding.

Shapes: ``N`` target tokens, ``C`` target tokens of a chunk, ``D`` width of the model, ``V``
vocabulary.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from idiolect.models.logits import compute_logits
from idiolect.models.structure import find_decoder
from idiolect.prompts.batch import Batch

LOGIT_CHUNK_TOKENS = 128
"""Target tokens whose logits exist at the same time. On two cores, the logits of whole batches do
not stay in the caches and took 1.7 times as long, as did autograd's computation of their
gradient."""


def compute_target_logits(model: Any, batch: Batch) -> Tensor:
    """Return the logits [N, V] at the positions that predict the batch's target tokens.

    The forward leaves out the last column, which predicts nothing.
    """
    hidden = find_decoder(model)(input_ids=batch.ids[:, :-1], use_cache=False).last_hidden_state
    return compute_logits(model, hidden[batch.row, batch.position])


def compute_target_nll(model: Any, batch: Batch) -> Tensor:
    """Return the negative log likelihood of each target token [N], in nats, in fp32 or wider."""
    return _compute_nll(compute_target_logits(model, batch), batch)


def compute_target_scores(model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return ``compute_target_nll`` [N], and whether each target token is the most likely one
    [N]."""
    logits_NV = compute_target_logits(model, batch)
    return _compute_nll(logits_NV, batch), logits_NV.argmax(dim=-1) == batch.label


def _compute_nll(logits_NV: Tensor, batch: Batch) -> Tensor:
    return torch.nn.functional.cross_entropy(
        logits_NV.to(_pick_wide_dtype(logits_NV)), batch.label, reduction="none"
    )


def nll_from_hidden(model: Any, hidden: Tensor, label: Tensor) -> Tensor:
    """Return the negative log likelihood [N] of labels [N], from the hidden states [N, D] that
    predict them.

    It computes logits in chunks. Backward reaches only the hidden states, because the head is
    frozen. So their gradient is computed together with the logits, and no logits are kept.
    """
    return cast("Tensor", _HiddenNllFunction.apply(hidden, label, model))


class _HiddenNllFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, label: Tensor, model: Any) -> Tensor:
        nll: list[Tensor] = []
        gradients: list[Tensor] = []
        for hidden_CD, label_C in zip(
            hidden.split(LOGIT_CHUNK_TOKENS), label.split(LOGIT_CHUNK_TOKENS), strict=True
        ):
            hidden_CD = hidden_CD.detach().requires_grad_(ctx.needs_input_grad[0])
            with torch.set_grad_enabled(ctx.needs_input_grad[0]):
                logits_CV = compute_logits(model, hidden_CD)
            log_probs_CV = torch.log_softmax(
                logits_CV.detach(), dim=-1, dtype=_pick_wide_dtype(logits_CV)
            )
            nll.append(-log_probs_CV.gather(1, label_C[:, None])[:, 0])
            if ctx.needs_input_grad[0]:
                # d nll / d logits is the probabilities, minus one at the label. In place: the log
                # probabilities are not used again.
                dlogits_CV = log_probs_CV.exp_()
                dlogits_CV[torch.arange(len(label_C), device=dlogits_CV.device), label_C] -= 1
                gradients += torch.autograd.grad(
                    logits_CV, hidden_CD, dlogits_CV.to(logits_CV.dtype)
                )
        ctx.save_for_backward(*gradients)
        return torch.cat(nll)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        dhidden_ND = torch.cat(ctx.saved_tensors)
        return dhidden_ND * grads[0][:, None].to(dhidden_ND.dtype), None, None


def _pick_wide_dtype(logits: Tensor) -> torch.dtype:
    """fp32, or fp64 if the logits are fp64."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32
