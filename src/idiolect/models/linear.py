"""The linear modules of a model's text part, whatever class a family uses for them.

GPT-2 and its kin use ``Conv1D``, which holds its weight transposed: [D, O] instead of [O, D]. All
other code treats both alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from idiolect.models.structure import find_decoder


def is_linear(module: nn.Module) -> bool:
    """Whether a module multiplies its input with one weight matrix."""
    return isinstance(module, (nn.Linear, Conv1D))


def is_transposed(module: nn.Module) -> bool:
    """Whether a linear module holds its weight as [inputs, outputs]."""
    return isinstance(module, Conv1D)


def get_widths(module: Any) -> tuple[int, int]:
    """Return the input and output width of a linear module."""
    if isinstance(module, Conv1D):
        return module.nx, module.nf
    return module.in_features, module.out_features


def orient_weight(module: nn.Module, weight: Tensor) -> Tensor:
    """Return a linear module's weight as [outputs, inputs], or such a matrix as the module holds
    it: the same operation both ways, without a copy."""
    return weight.T if is_transposed(module) else weight


def iter_linear_modules(model: Any) -> Iterator[tuple[str, nn.Module]]:
    """Yield path and module of all linear modules of the text part, in the model's order.

    The output head is not among them (it runs on single positions), nor are those of the parts for
    images and sound.
    """
    inside = {id(module) for module in find_decoder(model).modules()}
    head = model.get_output_embeddings()
    for path, module in model.named_modules():
        if is_linear(module) and id(module) in inside and module is not head:
            yield path, module
