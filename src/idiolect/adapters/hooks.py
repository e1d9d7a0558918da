"""Forward hooks that apply one LoRA: the simple implementation that the stacks are tested against.

Shapes: ``B`` rows of a batch, ``T`` tokens, ``D``/``O`` input and output width of a module, ``R``
rank.
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
"""A torch forward hook: (module, inputs, output) -> new output."""


@contextmanager
def forward_hooks(model: Any, hooks: Mapping[str, Hook]) -> Iterator[None]:
    """Register one forward hook per module path inside the context; removes them on exit, also on
    errors."""
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
    """Return a mask [B, T, 1] that is 1 on the tokens on which the adapter acts, or 1.0 for all
    tokens.

    ``T`` is one less than the longest example, because the last token predicts nothing.
    """
    if config.active == "all":
        return 1.0
    # The adapter acts from the invocation tokens (the start of the answer's turn) on.
    invocation = encode_invocation(base.tokenizer)
    mask_BT1 = torch.zeros(
        len(examples), max(len(e.ids) for e in examples) - 1, 1, dtype=base.dtype
    )
    for row, example in enumerate(examples):
        mask_BT1[row, find_invocation(example.ids[: example.answer_start], invocation) :] = 1
    return mask_BT1.to(base.device)


@contextmanager
def activate_lora(
    model: Any, pairs: Mapping[str, tuple[Tensor, Tensor]], scale: float, active: Tensor | float
) -> Iterator[None]:
    """Add ``scale * B A x`` to the output of each module inside the context, on the active tokens.

    ``pairs``: A [R, D] and B [O, R] by module path. ``active``: as ``build_token_mask`` returns it.
    """

    def make_hook(a: Tensor, b: Tensor) -> Hook:
        def add_update(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            (x_BTD,) = inputs
            return output + scale * active * ((x_BTD @ a.T.to(x_BTD.dtype)) @ b.T.to(x_BTD.dtype))

        return add_update

    with forward_hooks(model, {path: make_hook(a, b) for path, (a, b) in pairs.items()}):
        yield
