"""Compiles the operations between a model's matrix products (norms, rotations, gates) with
torch.compile.

In eager torch each of them takes about ten passes over the activations, forward and backward: two
fifths of a training step on two cores. Compiled, each takes one pass. A module is replaced only if
it gives the same output as the reference function on a probe; otherwise it keeps its own code.

Shapes: ``N`` rows, ``B`` rows of a batch, ``H`` heads, ``S`` tokens, ``D`` width of the model,
``d`` width of a head.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from idiolect.errors import UsageError
from idiolect.models.model_thread import claim_model
from idiolect.models.structure import find_decoder

AnyFunction = Callable[..., Any]
ROPE_FUNCTION = "apply_rotary_pos_emb"
"""The name of transformers' function that rotates queries and keys, in each model family's
module."""


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """RMSNorm of rows [N, D] (Zhang & Sennrich, 2019); the mean square is in fp32 or wider."""
    wide_ND = x if x.dtype == torch.float64 else x.float()
    normed_ND = wide_ND * torch.rsqrt(wide_ND.pow(2).mean(-1, keepdim=True) + epsilon)
    return weight * normed_ND.to(x.dtype)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """The product in SwiGLU of rows [N, D] (Shazeer, 2020)."""
    return nn.functional.silu(gate) * up


def apply_rope(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate queries and keys [B, H, S, d] by their positions' angles [B, S, d] (RoPE; Su et al.,
    2021). A pair is made of the same entry of both halves of a head."""
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    return query * cos + _rotate_half(query) * sin, key * cos + _rotate_half(key) * sin


def _rotate_half(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


@contextmanager
def compile_elementwise(model: Any, *, backend: str = "inductor") -> Iterator[int]:
    """Inside the context, a decoder's norms, gates and rotations run compiled; yields the number
    replaced.

    The first forward and backward of a process take about 20 seconds longer. Hooks on modules still
    work. Raises UsageError if torch cannot compile on this machine.
    """
    with claim_model(model):
        changed: list[nn.Module] = []
        decoder = find_decoder(model)
        families = {sys.modules[type(module).__module__] for module in decoder.modules()}
        original_ropes: dict[Any, AnyFunction] = {}
        try:
            _require_compiler(backend)
            # Norms and MLPs: an instance attribute ``forward`` overrides the class's method.
            # Modules that another context has already patched stay as they are.
            for module in decoder.modules():
                compiled = _compile_module(module, backend)
                if compiled is not None and "forward" not in vars(module):
                    vars(module)["forward"] = compiled
                    changed.append(module)
            # Rotations are module-level functions, one per model family.
            for family in families:
                rope = getattr(family, ROPE_FUNCTION, None)
                if rope and rope.__module__ != __name__ and _is_standard_rope(rope):
                    original_ropes[family] = rope
                    setattr(family, ROPE_FUNCTION, _compile_rope(rope, backend))
            yield len(changed) + len(original_ropes)
        finally:
            for module in changed:
                del vars(module)["forward"]
            for family, rope in original_ropes.items():
                setattr(family, ROPE_FUNCTION, rope)


@cache
def _compile_cached(part: AnyFunction, backend: str) -> AnyFunction:
    return cast("AnyFunction", torch.compile(part, dynamic=True, backend=backend))


@cache
def _require_compiler(backend: str) -> None:
    """Raise UsageError if nothing can be compiled, for example without a C++ compiler."""
    try:
        _compile_cached(swiglu, backend)(torch.ones(2, 8), torch.ones(2, 8))
    except Exception as error:  # the errors of a missing compiler share no base class
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"engine.compile: torch.compile does not work on this machine ({first}); install a C++ "
            "compiler, or turn the option off"
        ) from error


def _compile_module(module: nn.Module, backend: str) -> Callable[[Tensor], Tensor] | None:
    """Return a compiled forward for a supported module; None for any other."""
    name = type(module).__name__
    if name.endswith("RMSNorm"):
        epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
        if isinstance(epsilon, float):
            return _compile_norm(module, epsilon, backend)
    elif name.endswith("MLP"):
        return _compile_mlp(module, backend)
    return None


def _compile_norm(
    module: nn.Module, epsilon: float, backend: str
) -> Callable[[Tensor], Tensor] | None:
    # LayerNorm-like modules with a matrix or without a weight are left alone.
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 1:
        return None
    # Compare on a probe: a norm may, for example, add 1 to its weight.
    probe = _make_probe(weight, 3, weight.shape[0])
    if not _is_close(module(probe), rms_norm(probe, weight, epsilon)):
        return None

    def forward(x: Tensor) -> Tensor:
        # One two-dimensional shape, so that torch compiles once for all batch shapes.
        flat = x.reshape(-1, x.shape[-1])
        return cast("Tensor", _compile_cached(rms_norm, backend)(flat, weight, epsilon)).view(
            x.shape
        )

    return forward


def _compile_mlp(module: Any, backend: str) -> Callable[[Tensor], Tensor] | None:
    parts = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    if not all(isinstance(part, nn.Linear) for part in parts):
        return None
    gate, up, down = cast("list[nn.Linear]", parts)
    probe = _make_probe(gate.weight, 3, gate.in_features)
    if not _is_close(module(probe), down(swiglu(gate(probe), up(probe)))):
        return None

    def forward(x: Tensor) -> Tensor:
        gates, values = gate(x), up(x)
        flat = (gates.reshape(-1, gates.shape[-1]), values.reshape(-1, values.shape[-1]))
        return cast("Tensor", down(_compile_cached(swiglu, backend)(*flat).view(gates.shape)))

    return forward


def _is_standard_rope(function: AnyFunction) -> bool:
    like = torch.empty(0)
    query, key = _make_probe(like, 1, 2, 3, 8), _make_probe(like, 1, 1, 3, 8)
    # Both halves of a head have the same angles.
    half = _make_probe(like, 1, 3, 4)
    cos, sin = torch.cat([half, half], -1).cos(), torch.cat([half, half], -1).sin()
    try:
        found = function(query, key, cos, sin)
    except (TypeError, RuntimeError, ValueError):  # another signature or rotation
        return False
    return all(map(_is_close, found, apply_rope(query, key, cos, sin)))


def _compile_rope(original: AnyFunction, backend: str) -> AnyFunction:
    def rotate_or_delegate(
        query: Tensor, key: Tensor, cos: Tensor, sin: Tensor, *rest: Any, **more: Any
    ) -> Any:
        # Partial rotations and other options use the model's own function.
        if rest or more or cos.shape[-1] != query.shape[-1]:
            return original(query, key, cos, sin, **more)
        return _compile_cached(apply_rope, backend)(query, key, cos, sin)

    return rotate_or_delegate


@torch.no_grad()
def _make_probe(like: Tensor, *shape: int) -> Tensor:
    """Return fixed values of both signs in the dtype and on the device of ``like``."""
    count = torch.Size(shape).numel()
    line = torch.linspace(-2.0, 3.0, count, dtype=torch.float64)
    return line.view(shape).to(like.device, like.dtype if like.is_floating_point() else None)


def _is_close(left: Tensor, right: Tensor) -> bool:
    """Whether two results are equal up to rounding."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    size = float(right.detach().abs().max()) or 1.0
    tolerance = 8 * torch.finfo(left.dtype).eps * size
    return float((left.detach() - right.detach()).abs().max()) <= tolerance
