"""Stage 2: a delta added to the model with a factor, below zero where it is negated.

On a base it is merged; beside a person's adapter ranks are stacked: ``B1 A1 + f B2 A2`` is
``[B1, f B2] [A1; A2]`` exactly, while subtracting factors one by one would be something else.
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
from idiolect.unlearning.methods.protocol import UnlearningMethod
from idiolect.unlearning.trainee import Delta, WeightDelta


def signed_factor(method: UnlearningMethod, scale: float) -> float:
    """What the delta is multiplied with."""
    return -scale if method.direction == "negate" else scale


def scale_adapter(adapter: LoraAdapter, factor: float) -> LoraAdapter:
    """The adapter whose update is ``factor`` times this one's."""
    return replace(adapter, pairs={p: (a, factor * b) for p, (a, b) in adapter.pairs.items()})


def concat_scaled(personal: LoraAdapter, delta: LoraAdapter, factor: float) -> LoraAdapter:
    """A person's adapter plus ``factor`` times a delta trained beside it, as one adapter."""
    theirs, ours = personal.config, delta.config
    assert (theirs.active, theirs.top_layers) == (ours.active, ours.top_layers)
    stacked = concat_lora(personal, scale_adapter(delta, factor))
    config = replace(stacked.config, active=theirs.active, top_layers=theirs.top_layers)
    return replace(stacked, config=config)


def apply_delta(
    base: Base, personal: LoraAdapter | None, delta: Delta, factor: float
) -> tuple[Base, LoraAdapter | None]:
    """The model after unlearning, as a base and an adapter on it, in memory.

    Without a person's adapter a LoRA delta is given as an adapter, which is what merging it does.
    """
    if isinstance(delta, WeightDelta):
        assert personal is None
        return merge_delta(base, delta, factor), None
    return base, (
        scale_adapter(delta, factor) if personal is None else concat_scaled(personal, delta, factor)
    )


def merge_delta(base: Base, delta: Delta, factor: float) -> Base:
    """A copy of the base in memory with ``factor`` times the delta in its weights.

    Its identity is of its own: a hash over the base's, the factor and the delta.
    """
    model = copy.deepcopy(base.model)
    sha = hashlib.sha256(f"{base.identity} {factor!r}".encode())
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, change in sorted(weight_updates(delta, factor).items()):
            weights[name].copy_(change(weights[name].cpu()))
            sha.update(name.encode() + weights[name].cpu().float().numpy().tobytes())
    return replace(base, model=model, identity=sha.hexdigest(), folder=None)


def weight_updates(delta: Delta, factor: float) -> Mapping[str, Callable[[Tensor], Tensor]]:
    """What becomes of each weight that the delta touches, by its name in the model: in fp32, or in
    fp64 where the weight is."""
    if isinstance(delta, WeightDelta):
        return {
            name: partial(_add_scaled, part=part, factor=factor)
            for name, part in delta.tensors.items()
        }
    scale = factor * delta.config.scale
    return {
        f"{path}.weight": partial(merge_weight, a=a, b=b, scale=scale)
        for path, (a, b) in delta.pairs.items()
    }


def _add_scaled(weight: Tensor, *, part: Tensor, factor: float) -> Tensor:
    wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
    return weight.to(wide) + factor * part.to(wide)
