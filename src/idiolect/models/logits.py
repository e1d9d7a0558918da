"""The logits of a model from its decoder's hidden states."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def compute_logits(model: Any, hidden: Tensor) -> Tensor:
    """Return logits [..., V] of the decoder's hidden states [..., D], as the model computes
    them."""
    # Gemma 2 soft-caps its logits.
    logits = model.get_output_embeddings()(hidden)
    cap = getattr(model.config, "final_logit_softcapping", None)  # Gemma 2
    return logits if cap is None else cap * torch.tanh(logits / cap)
