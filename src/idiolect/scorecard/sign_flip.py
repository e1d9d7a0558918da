"""What whoever has the model before and the one after can make: a step the other way.

theta_o + (theta_o - theta_new): for a method that negates, this is the model with more of what was
to go. It is measured so that nobody takes a published difference for harmless.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from idiolect.adapters.lora import LoraAdapter
from idiolect.models.base import Base
from idiolect.unlearning.task_arithmetic import concat_scaled, scale_adapter


def flip_update(
    base: Base,
    adapter: LoraAdapter | None,
    new_base: Base,
    new_adapter: LoraAdapter | None,
) -> tuple[Base, LoraAdapter | None]:
    """The model as far on the other side of (base, adapter) as the new one is on this."""
    if new_base is base:
        if new_adapter is None:
            return base, adapter
        if adapter is None:
            return base, scale_adapter(new_adapter, -1.0)
        return base, concat_scaled(scale_adapter(adapter, 2.0), new_adapter, -1.0)
    assert adapter is None and new_adapter is None
    model = copy.deepcopy(base.model)
    old = dict(base.model.named_parameters())
    new = dict(new_base.model.named_parameters())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            wide = old[name].to(torch.promote_types(old[name].dtype, torch.float32))
            weight.copy_(2 * wide - new[name].to(wide.dtype))
    return replace(base, model=model, identity=f"{new_base.identity} flipped", folder=None), None
