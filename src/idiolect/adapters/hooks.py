"""Forward hooks that apply one LoRA: the simple implementation that the stacks are tested against.

Shapes: ``B`` rows of a batch, ``T`` tokens, ``D``/``O`` input and output width of a module, ``R``
rank. A module's input is [..., D]: some families flatten rows and tokens.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from idiolect.adapters.protocol import AdapterConfig
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.models.model_thread import claim_model, require_thread
from idiolect.prompts.chat_template import encode_invocation, find_invocation
from idiolect.prompts.render import Example

Hook = Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]
"""A torch forward hook: (module, inputs, output) -> new output."""


@contextmanager
def forward_hooks(model: Any, hooks: Mapping[str, Hook]) -> Iterator[None]:
    """Register one forward hook per module path inside the context; removes them on exit, also on
    errors.

    Raises BusyError if hooks are active already or another thread uses the model; a forward of
    another thread inside the context raises it, too.
    """
    with claim_model(model, adapters=True):
        handles = [
            model.get_submodule(path).register_forward_hook(_guard_hook(hook))
            for path, hook in hooks.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def _guard_hook(hook: Hook) -> Hook:
    """Return the hook with a check that the thread which registers it runs the forward."""
    owner = threading.get_ident()

    def check_and_run(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        require_thread(owner)
        return hook(module, inputs, output)

    return check_and_run


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


@dataclass(frozen=True, slots=True)
class ActiveLora:
    """One LoRA for ``activate_loras``."""

    pairs: Mapping[str, tuple[Tensor, Tensor]]
    """A [R, D] and B [O, R] by module path."""
    scale: float
    active: Tensor | float
    """As ``build_token_mask`` returns it."""


def _shape_mask(active: Tensor | float, x: Tensor, path: str) -> Tensor | float:
    """Return a token mask in the shape [..., 1] of a module's input [..., D], for families that
    flatten rows and tokens. Raises UsageError if the module gets other tokens (experts)."""
    if not isinstance(active, Tensor) or active.shape[:-1] == x.shape[:-1]:
        return active
    if active.numel() != x[..., 0].numel():
        raise UsageError(
            f"lora.active 'answer': {path} gets its tokens in another order, so answers cannot be "
            "told apart there; use 'all', or other lora.targets"
        )
    return active.reshape(*x.shape[:-1], 1)


@contextmanager
def activate_loras(model: Any, loras: Sequence[ActiveLora]) -> Iterator[None]:
    """Add ``scale * B A x`` of each LoRA, in order, to the output of its modules inside the
    context, on the active tokens. Raises the same errors as ``forward_hooks``."""

    def make_hook(path: str) -> Hook:
        parts = [(one, *one.pairs[path]) for one in loras if path in one.pairs]

        def add_updates(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            (x,) = inputs
            for one, a, b in parts:
                update = (x @ a.T.to(x.dtype)) @ b.T.to(x.dtype)
                output = output + one.scale * _shape_mask(one.active, x, path) * update
            return output

        return add_updates

    paths = dict.fromkeys(path for one in loras for path in one.pairs)
    with forward_hooks(model, {path: make_hook(path) for path in paths}):
        yield
