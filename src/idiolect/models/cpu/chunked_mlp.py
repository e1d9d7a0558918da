"""Feed-forward layers of a CPU some tokens at a time, so that what is between stays in the caches.

A layer's widest tensors are between its two products. For thousands of tokens they go through the
memory five times; for ``TOKENS`` they never leave the processor. One core took 10 % less for a
forward of 4,000 tokens, and the results were the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

CHUNK_TOKENS = 256
"""128 and 512 measured less good."""


@contextmanager
def chunk_mlp(model: nn.Module) -> Iterator[None]:
    """While inside, feed-forward layers run in portions where nobody looks into them: without
    gradients, on a CPU, with no hook on any of their modules."""
    changed = [
        m for name, m in model.named_modules() if name.endswith("mlp") and _is_pointwise_mlp(m)
    ]
    changed = [m for m in changed if "forward" not in vars(m)]
    for module in changed:
        vars(module)["forward"] = _make_forward(module, module.forward)
    try:
        yield
    finally:
        for module in changed:
            del vars(module)["forward"]


def _is_pointwise_mlp(module: nn.Module) -> bool:
    """Whether a module is products and activations alone, so that no token matters to another;
    by its name ``mlp`` it is the decoder layer's part that comes after attention."""
    children = list(module.children())
    linear = [child for child in children if isinstance(child, nn.Linear)]
    others = [child for child in children if not isinstance(child, nn.Linear)]
    return len(linear) > 1 and not any(any(o.parameters()) or any(o.children()) for o in others)


def _make_forward(
    module: nn.Module, whole: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        alone = not torch.is_grad_enabled() and x.device.type == "cpu" and not _has_hooks(module)
        if not alone or x.dim() != 3 or x.shape[0] != 1 or x.shape[1] <= CHUNK_TOKENS:
            return whole(x)
        return torch.cat([whole(some) for some in x.split(CHUNK_TOKENS, dim=1)], dim=1)

    return forward


def _has_hooks(module: nn.Module) -> bool:
    """Whether a hook sees what goes through a part of it: it wants all tokens at once."""
    return any(part._forward_hooks or part._forward_pre_hooks for part in module.children())
