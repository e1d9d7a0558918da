"""Stage 2 of unlearning: adds a delta to the model with a signed factor (task arithmetic).

On a base the delta is merged into the weights. On a person's adapter the ranks are concatenated:
``B1 A1 + f B2 A2`` equals ``[B1, f B2] [A1; A2]`` exactly, while subtracting the factors separately
would not.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from idiolect.adapters.arithmetic.concat import concat_lora
from idiolect.adapters.lora import LoraAdapter, merge_weight
from idiolect.models.base import Base
from idiolect.models.linear import is_transposed
from idiolect.unlearning.methods.protocol import UnlearningMethod
from idiolect.unlearning.trainee import Delta, WeightDelta


def signed_factor(method: UnlearningMethod, scale: float) -> float:
    """Return the factor for the delta: the scale, negative if the method negates."""
    return -scale if method.direction == "negate" else scale


def scale_adapter(adapter: LoraAdapter, factor: float) -> LoraAdapter:
    """Return an adapter whose update is ``factor`` times this one's."""
    return replace(adapter, pairs={p: (a, factor * b) for p, (a, b) in adapter.pairs.items()})


def concat_scaled(personal: LoraAdapter, delta: LoraAdapter, factor: float) -> LoraAdapter:
    """Return a person's adapter plus ``factor`` times a delta that was trained on top of it, as one
    adapter."""
    own, other = personal.config, delta.config
    assert (own.active, own.top_layers) == (other.active, other.top_layers)
    stacked = concat_lora(personal, scale_adapter(delta, factor))
    # Concatenation gives default values to the settings that both adapters share.
    config = replace(stacked.config, active=own.active, top_layers=own.top_layers)
    return replace(stacked, config=config)


def apply_delta(
    base: Base, personal: LoraAdapter | None, delta: Delta, factor: float
) -> tuple[Base, LoraAdapter | None]:
    """Return the unlearned model, in memory, as a base and an adapter on it.

    Without a personal adapter, a LoRA delta becomes the adapter, which is equivalent to merging it.
    """
    if isinstance(delta, WeightDelta):
        assert personal is None
        return merge_delta(base, delta, factor), None
    return base, (
        scale_adapter(delta, factor) if personal is None else concat_scaled(personal, delta, factor)
    )


def merge_delta(base: Base, delta: Delta, factor: float) -> Base:
    """Return a copy of the base in memory with ``factor`` times the delta added to its weights.

    Its identity is a hash of the base's identity, the factor, and the changed weights.
    """
    # The given base stays usable for other scales.
    model = copy.deepcopy(base.model)
    sha = hashlib.sha256(f"{base.identity} {factor!r}".encode())
    weights = dict(model.named_parameters())
    with torch.no_grad():
        # Sorted, so that the hash does not depend on the order of the modules.
        for name, change in sorted(weight_updates(base, delta, factor).items()):
            weights[name].copy_(change(weights[name].cpu()))
            sha.update(name.encode() + weights[name].cpu().float().numpy().tobytes())
    return replace(base, model=model, identity=sha.hexdigest(), folder=None)


def weight_updates(
    base: Base, delta: Delta, factor: float
) -> Mapping[str, Callable[[Tensor], Tensor]]:
    """Map the name of each weight that the delta changes to a function that returns the new weight,
    in fp32 (fp64 if the weight is fp64)."""
    if isinstance(delta, WeightDelta):
        return {
            name: partial(_add_scaled, part=part, factor=factor)
            for name, part in delta.tensors.items()
        }
    # A LoRA's update is scale * B A, so both factors apply.
    scale = factor * delta.config.scale
    return {
        f"{path}.weight": partial(
            merge_weight,
            a=a,
            b=b,
            scale=scale,
            transposed=is_transposed(base.model.get_submodule(path)),
        )
        for path, (a, b) in delta.pairs.items()
    }


def _add_scaled(weight: Tensor, *, part: Tensor, factor: float) -> Tensor:
    wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
    return weight.to(wide) + factor * part.to(wide)
