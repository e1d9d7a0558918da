"""Random adapters that change the output, as after training, and the logits with them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.lora import LoraAdapter, LoraConfig, init_lora, merge_weight
from idiolect.adapters.protocol import Adapter
from idiolect.models.base import Base


def random_adapter(base: Base, config: LoraConfig | None = None, *, seed: int = 0) -> LoraAdapter:
    """Return a new adapter with a random B instead of zeros."""
    start = init_lora(base, config or LoraConfig(), seed=seed, person="someone")
    generator = torch.Generator().manual_seed(seed)
    pairs = {
        path: (a, torch.randn(b.shape, generator=generator, dtype=b.dtype) * 0.3)
        for path, (a, b) in start.pairs.items()
    }
    return LoraAdapter(config=start.config, base=start.base, pairs=pairs)


def make_token_ids(base: Base) -> Tensor:
    """Return two rows of token ids [2, 12]."""
    generator = torch.Generator().manual_seed(7)
    return torch.randint(0, int(base.model.config.vocab_size), (2, 12), generator=generator)


@torch.no_grad()
def compute_logits(model: Any, ids: Tensor) -> Tensor:
    """Return the model's logits [B, T, V]."""
    return model(input_ids=ids).logits


def compute_adapter_logits(base: Base, adapter: Adapter, ids: Tensor) -> Tensor:
    """Return the base's logits [B, T, V] with the adapter on every row."""
    rows = torch.zeros(len(ids), dtype=torch.long)
    with stack_adapters(base, [adapter]).activate(rows):
        return compute_logits(base.model, ids)


@torch.no_grad()
def merge_into(model: Any, adapter: LoraAdapter) -> None:
    """Merge an adapter into a model's weights, in place."""
    for path, (a, b) in adapter.pairs.items():
        weight = model.get_submodule(path).weight
        weight.copy_(merge_weight(weight, a, b, adapter.config.scale))
