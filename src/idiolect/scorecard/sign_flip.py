"""The sign-flip attack: anyone with the models before and after can step in the other direction.

The result is theta_o + (theta_o - theta_new). For a method that negates, this model knows more of
what should be forgotten. It is measured to show that a published difference is not harmless.
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
    """Return the mirror image of the new model at the old one (``base`` with ``adapter``)."""
    # Only adapters differ: mirror the new adapter at the old one.
    if new_base is base:
        if new_adapter is None:
            return base, adapter
        if adapter is None:
            return base, scale_adapter(new_adapter, -1.0)
        # 2 old - new, as one adapter of concatenated ranks.
        return base, concat_scaled(scale_adapter(adapter, 2.0), new_adapter, -1.0)
    # The bases differ: mirror all weights, in at least float32.
    assert adapter is None and new_adapter is None
    model = copy.deepcopy(base.model)
    old = dict(base.model.named_parameters())
    new = dict(new_base.model.named_parameters())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            wide = old[name].to(torch.promote_types(old[name].dtype, torch.float32))
            weight.copy_(2 * wide - new[name].to(wide.dtype))
    return replace(base, model=model, identity=f"{new_base.identity} flipped", folder=None), None
