"""What stands between a model's matrix products (norms, rotations, gates), by torch.compile.

In plain torch each of these is ten passes over the activations, forward and backward: on two cores
two fifths of a training step. Compiled they are one pass each. Only what provably is the usual
mathematics is exchanged: a model's own part stays where it gives other numbers on a probe.
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

AnyFunction = Callable[..., Any]
ROPE_FUNCTION = "apply_rotary_pos_emb"
"""What transformers calls the rotation of queries and keys, in each family's module."""


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """RMSNorm of rows [N, D] (Zhang & Sennrich, 2019), its mean square in fp32 or wider."""
    wide = x if x.dtype == torch.float64 else x.float()
    scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
    return weight * scaled.to(x.dtype)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """SwiGLU's product of rows [N, D] (Shazeer, 2020)."""
    return nn.functional.silu(gate) * up


def apply_rope(query: Tensor, key: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys [B, H, S, d] turned by their positions' angles [B, S, d] (Su et al., 2021),
    the two halves of a head being the pairs' members."""
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    return query * cos + _rotate_half(query) * sin, key * cos + _rotate_half(key) * sin


def _rotate_half(x: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


@contextmanager
def compile_elementwise(model: Any, *, backend: str = "inductor") -> Iterator[int]:
    """While inside, a decoder's norms, gates and rotations run compiled; gives how many do.

    The first forward and backward of a process take some 20 seconds more. Hooks on modules work as
    ever. Raises UsageError where torch cannot compile here.
    """
    changed: list[nn.Module] = []
    decoder = model.get_decoder()
    families = {sys.modules[type(module).__module__] for module in decoder.modules()}
    turning: dict[Any, AnyFunction] = {}
    try:
        _require_compiler(backend)
        for module in decoder.modules():
            own = _compile_module(module, backend)
            if own is not None and "forward" not in vars(module):
                vars(module)["forward"] = own
                changed.append(module)
        for family in families:
            theirs = getattr(family, ROPE_FUNCTION, None)
            if theirs and theirs.__module__ != __name__ and _is_standard_rope(theirs):
                turning[family] = theirs
                setattr(family, ROPE_FUNCTION, _compile_rope(theirs, backend))
        yield len(changed) + len(turning)
    finally:
        for module in changed:
            del vars(module)["forward"]
        for family, theirs in turning.items():
            setattr(family, ROPE_FUNCTION, theirs)


@cache
def _compile_cached(part: AnyFunction, backend: str) -> AnyFunction:
    return cast("AnyFunction", torch.compile(part, dynamic=True, backend=backend))


@cache
def _require_compiler(backend: str) -> None:
    """Raise UsageError where nothing can be compiled, as without a C++ compiler."""
    try:
        _compile_cached(swiglu, backend)(torch.ones(2, 8), torch.ones(2, 8))
    except Exception as error:  # whatever a compiler's absence looks like
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UsageError(
            f"engine.compile: torch.compile does not work here ({first}); install a C++ compiler "
            "or leave it off"
        ) from error


def _compile_module(module: nn.Module, backend: str) -> Callable[[Tensor], Tensor] | None:
    """A forward for a module that is one of the usual ones, ``None`` for any other."""
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
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 1:
        return None
    probe = _make_probe(weight, 3, weight.shape[0])
    if not _is_close(module(probe), rms_norm(probe, weight, epsilon)):
        return None

    def forward(x: Tensor) -> Tensor:
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
        one, other = gate(x), up(x)
        flat = (one.reshape(-1, one.shape[-1]), other.reshape(-1, other.shape[-1]))
        return cast("Tensor", down(_compile_cached(swiglu, backend)(*flat).view(one.shape)))

    return forward


def _is_standard_rope(theirs: AnyFunction) -> bool:
    like = torch.empty(0)
    query, key = _make_probe(like, 1, 2, 3, 8), _make_probe(like, 1, 1, 3, 8)
    half = _make_probe(like, 1, 3, 4)
    cos, sin = torch.cat([half, half], -1).cos(), torch.cat([half, half], -1).sin()
    try:
        found = theirs(query, key, cos, sin)
    except (TypeError, RuntimeError, ValueError):  # a rotation of another kind
        return False
    return all(map(_is_close, found, apply_rope(query, key, cos, sin)))


def _compile_rope(theirs: AnyFunction, backend: str) -> AnyFunction:
    def rotate_or_delegate(
        query: Tensor, key: Tensor, cos: Tensor, sin: Tensor, *rest: Any, **more: Any
    ) -> Any:
        if rest or more or cos.shape[-1] != query.shape[-1]:
            return theirs(query, key, cos, sin, **more)
        return _compile_cached(apply_rope, backend)(query, key, cos, sin)

    return rotate_or_delegate


@torch.no_grad()
def _make_probe(like: Tensor, *shape: int) -> Tensor:
    """Numbers of both signs, the same each time."""
    count = torch.Size(shape).numel()
    line = torch.linspace(-2.0, 3.0, count, dtype=torch.float64)
    return line.view(shape).to(like.device, like.dtype if like.is_floating_point() else None)


def _is_close(one: Tensor, other: Tensor) -> bool:
    """Whether two results differ by rounding alone."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    size = float(other.detach().abs().max()) or 1.0
    slack = 8 * torch.finfo(one.dtype).eps * size
    return float((one.detach() - other.detach()).abs().max()) <= slack
