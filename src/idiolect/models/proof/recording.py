"""Records what determines the gradients of all adapters: the input of every linear module, and the
gradient of its output.

Shapes: ``N`` tokens of a forward, row after row, with padding; ``D`` width of a module's input or
output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Call = tuple[str, int]
"""A module's path, and the how-manieth of its calls in a forward it is."""


class Recording:
    """What the linear modules of one forward and its backward got."""

    def __init__(self) -> None:
        self.inputs: dict[Call, Tensor] = {}
        self.gradients: dict[Call, Tensor] = {}
        self._calls: Counter[str] = Counter()

    def note_call(self, path: str, given: Tensor, output: Tensor) -> None:
        """Record the input of a call now, and the gradient of its output in the backward."""
        call = (path, self._calls[path])
        self._calls[path] += 1
        self.inputs[call] = given.detach()

        def note_gradient(gradient: Tensor) -> None:
            self.gradients[call] = gradient.detach()

        if output.requires_grad:
            output.register_hook(note_gradient)

    def find_input(self, call: Call, tokens: int) -> Tensor | None:
        """Return the input [N, D] of a call; None if it has not one row for each token."""
        return _flatten(self.inputs.get(call), tokens)

    def find_gradient(self, call: Call, tokens: int) -> Tensor | None:
        """Return the gradient [N, D] of a call's output; None as ``find_input`` does, or if there
        was none."""
        return _flatten(self.gradients.get(call), tokens)


def _flatten(found: Tensor | None, tokens: int) -> Tensor | None:
    if found is None or found.numel() != tokens * found.shape[-1]:
        return None
    return found.reshape(tokens, -1)


@contextmanager
def record_modules(modules: Mapping[str, nn.Module], recording: Recording) -> Iterator[None]:
    """Inside the context, forwards add their calls to the recording."""

    def make_hook(path: str) -> Any:
        def note_call(module: nn.Module, inputs: tuple[Tensor, ...], output: object) -> None:
            # Routers of experts are linear modules that return more than a product.
            if inputs and isinstance(output, Tensor):
                recording.note_call(path, inputs[0], output)

        return note_call

    with ExitStack() as hooks:
        for path, module in modules.items():
            hooks.callback(module.register_forward_hook(make_hook(path)).remove)
        yield


@contextmanager
def require_embedding_gradients(model: Any) -> Iterator[None]:
    """Inside the context, backwards reach the embeddings, so they pass every module."""

    def start_graph(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        # Not a leaf: some families change the embeddings in place.
        return output.detach().requires_grad_().view_as(output) * 1

    handle = model.get_input_embeddings().register_forward_hook(start_graph)
    try:
        with torch.enable_grad():
            yield
    finally:
        handle.remove()
