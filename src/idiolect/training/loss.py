"""Negative log likelihood of target tokens only, computed where they are predicted.

The output head is the largest matrix of a small model, so it is applied to the predicting
positions alone, never to prompts or padding.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from idiolect.models.base import head_logits
from idiolect.training.batch import Batch


def target_logits(model: Any, batch: Batch) -> Tensor:
    """Logits [N, V] at the positions that predict the batch's target tokens.

    The last column is left out: it predicts nothing.
    """
    hidden = model.get_decoder()(input_ids=batch.ids[:, :-1], use_cache=False).last_hidden_state
    return head_logits(model, hidden[batch.row, batch.position])


def target_nll(model: Any, batch: Batch) -> Tensor:
    """Negative log likelihood of each target token [N], in nats, fp32 or wider."""
    return nll_of(target_logits(model, batch), batch)


def nll_of(logits: Tensor, batch: Batch) -> Tensor:
    """The same from logits [N, V] that are there already."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return torch.nn.functional.cross_entropy(wide, batch.label, reduction="none")
