"""The logits of a model from its decoder's hidden states.

Most families multiply hidden states with the output head; Gemma 2 then caps them. Others also scale
them (Cohere, Granite, MiniCPM), or do more. Where the product alone does not give what the model
gives, the model's own forward runs, with the given hidden states in place of its decoder's.

Shapes: ``N`` positions, ``D`` width of the model, ``V`` vocabulary.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPast

from idiolect.models.model_thread import claim_model
from idiolect.models.structure import find_decoder, get_text_config

_PROBES = 3
_plain_heads: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


def compute_logits(model: Any, hidden: Tensor) -> Tensor:
    """Return logits [..., V] of the decoder's hidden states [..., D], as the model computes
    them."""
    if has_plain_head(model):
        return _multiply_head(model, hidden)
    return _run_own_forward(model, hidden)


@torch.no_grad()
def has_plain_head(model: Any) -> bool:
    """Whether the product with the output head, with the known soft cap, gives the same logits as
    the model's own forward. It is tried once per model, on made-up hidden states."""
    if model not in _plain_heads:
        head = model.get_output_embeddings()
        weight, width = head.weight, int(head.in_features)
        line = torch.linspace(-2.0, 3.0, _PROBES * width, device=weight.device)
        # The permutation mixes signs and sizes.
        order = torch.arange(_PROBES * width, device=weight.device) * 7919 % (_PROBES * width)
        like = weight.dtype if weight.dtype.is_floating_point else torch.get_default_dtype()
        hidden_ND = line[order].view(_PROBES, width).to(like)
        own, plain = _run_own_forward(model, hidden_ND), _multiply_head(model, hidden_ND)
        tolerance = 16 * torch.finfo(own.dtype).eps * float(own.abs().max())
        _plain_heads[model] = bool((own - plain).abs().max() <= tolerance)
    return _plain_heads[model]


def _multiply_head(model: Any, hidden: Tensor) -> Tensor:
    head = model.get_output_embeddings()
    if head.weight.is_floating_point():  # Mamba's decoder gives float32, whatever its weights are
        hidden = hidden.to(head.weight.dtype)
    logits = head(hidden)
    cap = getattr(get_text_config(model), "final_logit_softcapping", None)  # Gemma 2
    return logits if cap is None else cap * torch.tanh(logits / cap)


class _DecoderOutput(BaseModelOutputWithPast):
    """What the model gets from its decoder: hidden states only. Families read other fields, too
    (routing, states, rotations); they are None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


def _run_own_forward(model: Any, hidden: Tensor) -> Tensor:
    """Run the model's forward with hidden states [..., D] in place of what its decoder returns."""
    # Each position is a row of one token, so that no family builds a mask over all positions.
    hidden_N1D = hidden.reshape(-1, 1, hidden.shape[-1])
    ids_N1 = torch.zeros(len(hidden_N1D), 1, dtype=torch.long, device=hidden.device)
    decoder = find_decoder(model)

    def return_hidden(*_: object, **__: object) -> _DecoderOutput:
        return _DecoderOutput(last_hidden_state=hidden_N1D)

    with claim_model(model):
        # An instance attribute overrides the class's forward; another context may have set it.
        usual = vars(decoder).get("forward")
        vars(decoder)["forward"] = return_hidden
        try:
            logits = model(input_ids=ids_N1, use_cache=False).logits
        finally:
            del vars(decoder)["forward"]
            if usual is not None:
                vars(decoder)["forward"] = usual
    return logits.view(*hidden.shape[:-1], logits.shape[-1])
