"""Forward hooks that apply one plain LoRA: the slow version that the stacks must equal.

Shapes: ``B`` rows of a batch, ``T`` tokens, ``D``/``O`` widths of a module's input and output,
``R`` rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from idiolect.adapters.protocol import AdapterConfig
from idiolect.models.base import Base
from idiolect.prompts.chat_template import encode_invocation, find_invocation
from idiolect.prompts.render import Example

Hook = Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]
"""What torch calls after a module's forward: (module, inputs, output) to a new output."""


@contextmanager
def forward_hooks(model: Any, hooks: Mapping[str, Hook]) -> Iterator[None]:
    """While inside, each named module of the model has its forward hook; none after an error."""
    handles = [
        model.get_submodule(path).register_forward_hook(hook) for path, hook in hooks.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def build_token_mask(
    base: Base, config: AdapterConfig, examples: Sequence[Example]
) -> Tensor | float:
    """1 at the tokens on which the adapter acts [B, T, 1]."""
    if config.active == "all":
        return 1.0
    call = encode_invocation(base.tokenizer)
    out = torch.zeros(len(examples), max(len(e.ids) for e in examples) - 1, 1, dtype=base.dtype)
    for row, example in enumerate(examples):
        out[row, find_invocation(example.ids[: example.answer_start], call) :] = 1
    return out.to(base.device)


@contextmanager
def activate_lora(
    model: Any, pairs: Mapping[str, tuple[Tensor, Tensor]], scale: float, active: Tensor | float
) -> Iterator[None]:
    """While inside, every module with a pair (A, B) adds ``scale * B A x`` where it is active."""

    def make_hook(a: Tensor, b: Tensor) -> Hook:
        def add_update(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            (x,) = inputs
            return output + scale * active * ((x @ a.T.to(x.dtype)) @ b.T.to(x.dtype))

        return add_update

    with forward_hooks(model, {path: make_hook(a, b) for path, (a, b) in pairs.items()}):
        yield
