"""The linear layers of a quantized base: how they run, what their weights are, what they take.

The weights are quantized, the products are not: each layer computes with the weights that its
numbers stand for, in the base's dtype, forward and backward.

Shapes: ``O``/``D`` output and input width of a layer.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeGuard, cast

import torch
from torch import Tensor, nn

from idiolect.errors import UsageError
from idiolect.models.base import Base


def prepare_layers(model: nn.Module, dtype: torch.dtype) -> None:
    """Make the quantized layers of a model run in ``dtype``, each token for itself.

    Raises UsageError if a layer's weights would be read wrongly on this device.
    """
    for path, module in model.named_modules():
        weight = getattr(module, "weight", None)
        kind = type(weight).__name__
        layer: Any = module
        if kind == "Params4bit":
            _require_whole_blocks(layer, path)
            # A forward without gradients would repack the weights for CPUs, whose product is in
            # bf16 and has no backward: later gradients would be zero.
            layer.support_avx512bf16_for_cpu = False
            layer.compute_dtype, layer.compute_type_is_set = dtype, True
            # The backward restores the weights in this dtype.
            layer.weight.quant_state.dtype = dtype
        elif kind == "Int8Params":
            # LLM.int8 rounds the inputs as well, and what is an outlier depends on all tokens of a
            # batch: one person's numbers would change another's.
            layer.__class__ = _get_int8_class()


def _require_whole_blocks(layer: Any, path: str) -> None:
    """Raise UsageError if bitsandbytes misreads a layer's 4-bit weights on CPUs: it stores blocks
    that go on from one row to the next, and there looks for blocks within each row
    (``findings/bitsandbytes_cpu_odd_widths.sh``)."""
    size = layer.weight.quant_state.blocksize
    if layer.weight.device.type == "cpu" and layer.in_features % size:
        raise UsageError(
            f"quantize: {path} has {layer.in_features} inputs, no multiple of {size}, and "
            "bitsandbytes reads such weights of 4 bits wrongly on CPUs; use int8 or torchao-int8"
        )


@cache
def _get_int8_class() -> type[nn.Module]:
    """Return bitsandbytes' layer of 8 bits with products in the dtype of the input."""
    layers: Any = importlib.import_module("bitsandbytes.nn")
    functions: Any = importlib.import_module("bitsandbytes.autograd._functions")

    class WeightOnlyLinear8bit(layers.Linear8bitLt):
        def forward(self, x: Tensor) -> Tensor:
            layer: Any = self
            if layer.weight.CB is not None:
                layer.init_8bit_state()
            product = functions.MatMul8bitFp
            return cast("Tensor", product.apply(x, layer.weight, None, layer.bias, layer.state))

    return WeightOnlyLinear8bit


def is_quantized(weight: Tensor) -> bool:
    """Whether a layer's weight holds packed numbers instead of the matrix."""
    return type(weight).__name__ in ("Params4bit", "Int8Params") or _is_torchao(weight)


def restore_weight(module: Any) -> Tensor:
    """Return the matrix [O, D] with which a linear layer computes; of a layer that is not quantized
    it is the weight itself."""
    weight = module.weight.detach()
    kind = type(module.weight).__name__
    if kind == "Params4bit":
        functional: Any = importlib.import_module("bitsandbytes.functional")
        return functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
    if kind == "Int8Params":
        # The row sizes move from the weight to the state at the first forward.
        sizes_O = module.weight.SCB if module.weight.SCB is not None else module.state.SCB
        return weight.float() * (sizes_O.float() / 127).unsqueeze(1)
    return weight.dequantize() if _is_torchao(weight) else weight


def require_plain_base(base: Base, what: str) -> None:
    """Raise UsageError if a base is quantized. ``what`` needs its weights, and starts the
    message."""
    if base.quantization != "none":
        raise UsageError(
            f"{what} changes the base's weights, and {base.name} is quantized "
            f"({base.quantization}); use the model's own weights, in float32 or bfloat16"
        )


@dataclass(frozen=True, kw_only=True)
class WeightBytes:
    """The memory of a model's weights, each tensor counted once."""

    linear: int
    """Of the linear layers, without the output head."""
    whole: int
    """Of all parameters and buffers."""


def count_weight_bytes(model: Any) -> WeightBytes:
    """Count the bytes that a model's parameters and buffers hold, with what quantization adds to
    them."""
    head = model.get_output_embeddings()
    linear: dict[int, int] = {}
    whole: dict[int, int] = {}
    for module in model.modules():
        found = {tensor.data_ptr(): tensor.nbytes for tensor in _iter_tensors(module)}
        whole |= found
        if isinstance(module, nn.Linear) and module is not head:
            linear |= found
    return WeightBytes(linear=sum(linear.values()), whole=sum(whole.values()))


def _iter_tensors(module: Any) -> Iterator[Tensor]:
    """Yield the plain tensors that a module holds itself."""
    for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
        if _is_torchao(tensor):
            names, _ = tensor.__tensor_flatten__()
            yield from (getattr(tensor, name) for name in names)
            continue
        yield tensor.data
        # bitsandbytes: sizes of blocks (4 bits), sizes of rows (8 bits).
        blocks = getattr(tensor, "quant_state", None)
        for holder in (blocks, getattr(blocks, "state2", None), tensor):
            yield from (part for part in getattr(holder, "__dict__", {}).values() if _is_held(part))
    yield from filter(_is_held, (getattr(getattr(module, "state", None), "SCB", None),))


def _is_held(part: object) -> TypeGuard[Tensor]:
    return isinstance(part, Tensor)


def _is_torchao(weight: Tensor) -> bool:
    return type(weight).__module__.startswith("torchao.")
