"""LoRA adapters as values: config, target modules and tensors.

Shapes: ``D``/``O`` input and output width of a module, ``R`` rank. An adapter adds
``scale * B A x`` to a module's output, with A [R, D], B [O, R] and scale = alpha / rank (Hu et al.,
2021). This module does not depend on files or training.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from idiolect.adapters.protocol import Adapter, AdapterConfig
from idiolect.adapters.targets.linear import TargetModule
from idiolect.adapters.targets.patterns import AUTO, check_targets, has_names_only
from idiolect.adapters.targets.selection import name_modules, require_loadable, select_modules
from idiolect.adapters.update_norm import require_bounded_update
from idiolect.config import derive_seed
from idiolect.errors import IntegrityError, MismatchError, UsageError
from idiolect.models.base import Base
from idiolect.models.linear import is_transposed
from idiolect.models.structure import find_decoder, find_layers, get_text_config

_MAX_DESCRIBED_TARGETS = 12
"""Largest number of targets that messages name one by one."""


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Settings of LoRA adapters: which modules they adapt, and their size.

    The defaults (alpha equal to the rank, query and value projections) follow the OPPU paper. vLLM
    accepts ranks 8, 16, 32, 64 and so on. Dropout is 0 because, with two or three epochs over a few
    hundred items, it did not improve results in our measurements, and it makes steps slower.
    """

    kind: ClassVar[str] = "lora"

    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.0
    targets: tuple[str, ...] = (AUTO,)
    """The adapted modules: ``auto`` (the projections of attention that PEFT adapts by default,
    query and value in most families), ``auto-wide`` (these, and the output projections of attention
    and MLP), ``all-linear`` (all linear modules but the output head), a regular expression that
    matches whole paths, or names. ``resolve_for`` turns them into names."""
    active: Literal["all", "answer"] = "all"
    """On which tokens adapters act: on all, or only from the start of the answer's turn on
    (activated LoRA, PEFT's ``alora_invocation_tokens``). With ``answer``, the prompt's activations
    are those of the bare base, so each prompt runs once for all people."""
    top_layers: int = 0
    """Adapt only this number of last layers; 0 for all. Lower layers run once instead of once per
    epoch."""
    shared_a: bool = False
    """All people share the same frozen A and train B only."""
    fan_in_fan_out: bool | None = None
    """Whether the adapted modules hold their weights transposed (GPT-2), as PEFT's config says it.
    ``resolve_for`` sets it; None for linear layers as usual."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UsageError(f"lora.rank: must be at least 1, got {self.rank}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"lora.dropout: must be in [0, 1), got {self.dropout}")
        check_targets(self.targets)
        if self.top_layers < 0:
            raise UsageError(f"lora.top_layers: must be 0 (all) or more, got {self.top_layers}")
        if self.active not in ("all", "answer"):
            raise UsageError(f"lora.active: must be 'all' or 'answer', got {self.active!r}")

    @property
    def scale(self) -> float:
        """The factor of the update B A."""
        return self.alpha / self.rank

    @property
    def description(self) -> str:
        """The settings in words, for messages."""
        out = f"rank {self.rank}, alpha {self.alpha:g}, targets {self._describe_targets()}"
        out += f", the last {self.top_layers} layers" if self.top_layers else ""
        return out + (", on answers only" if self.active == "answer" else "")

    def _describe_targets(self) -> str:
        if len(self.targets) <= _MAX_DESCRIBED_TARGETS:
            return ", ".join(sorted(self.targets))
        # Paths of many layers: say how many have which name.
        counts = Counter(target.rpartition(".")[2] for target in self.targets)
        return ", ".join(f"{name} of {count} paths" for name, count in sorted(counts.items()))

    @property
    def is_resolved(self) -> bool:
        """Whether the targets are names of modules."""
        return has_names_only(self.targets)

    def resolve_for(self, model: Any) -> LoraConfig:
        """Return the config with the names that its targets have in a model: last parts of paths,
        or whole paths where these would mean other modules, too. Raises the same errors as
        ``target_modules``."""
        whole = select_modules(model, self.targets)
        modules = _keep_top_layers(model, self, whole)
        names = name_modules(model, whole)
        if set(names) == {module.path for module in whole}:
            names = tuple(module.path for module in modules)
        transposed = any(is_transposed(model.get_submodule(module.path)) for module in modules)
        return replace(
            self,
            # The order that was given stays, so that equal settings have equal fingerprints.
            targets=self.targets if set(names) == set(self.targets) else names,
            fan_in_fan_out=transposed or None,
        )

    def is_same_kind(self, other: AdapterConfig) -> bool:
        """Whether tensors mean the same under both configs: compares all settings that matter after
        training."""
        return isinstance(other, LoraConfig) and self._kind_key() == other._kind_key()

    def check_model(self, model: Any) -> None:
        """Raise UsageError if the model lacks the targets or has too few layers, or if PEFT could
        not load such adapters."""
        require_loadable(model, target_modules(model, self))

    def list_target_paths(self, model: Any) -> tuple[str, ...]:
        """The paths of the target modules; raises the same errors as ``check_model``."""
        return tuple(module.path for module in target_modules(model, self))

    def count_parameters(self, model: Any) -> int:
        """The number of parameters of one adapter on this model; raises the same errors as
        ``check_model``."""
        return sum(
            self.rank * (module.inputs + module.outputs) for module in target_modules(model, self)
        )

    def _kind_key(self) -> tuple[object, ...]:
        return (self.rank, self.alpha, frozenset(self.targets), self.active, self.top_layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraAdapter:
    """One LoRA adapter: a pair (A [R, D], B [O, R]) for each module path."""

    config: LoraConfig
    base: str
    """The identity of the base it was made for."""
    pairs: Mapping[str, tuple[Tensor, Tensor]]

    @property
    def num_bytes(self) -> int:
        """Size of the tensors in bytes."""
        return sum(t.numel() * t.element_size() for pair in self.pairs.values() for t in pair)

    def check_matches_base(self, base: Base, config: AdapterConfig | None = None) -> LoraAdapter:
        """Return the adapter itself if it fits the base (and the config, if given).

        Raises MismatchError for another base, kind or shape, IntegrityError if a number is not
        finite, or if an update is too large (``update_norm.py``).
        """
        config = config and config.resolve_for(base.model)
        if config is not None and not config.is_same_kind(self.config):
            raise MismatchError(
                f"adapter has {self.config.description}, expected {config.description}; use the "
                "same settings"
            )
        # Identity before shapes: two bases of one architecture have the same shapes.
        if self.base != base.identity:
            raise MismatchError(
                f"adapter was made for base {self.base[:12]}, but this base is "
                f"{base.identity[:12]} ({base.name}); load it with the base it was trained on"
            )
        self.check_target_modules(target_modules(base.model, self.config))
        for path, pair in self.pairs.items():
            require_bounded_update(base.model, path, pair, self.config.scale, what="adapter")
        return self

    def check_target_modules(self, modules: Iterable[TargetModule]) -> LoraAdapter:
        """Return the adapter itself if it has finite pairs of the right shapes for exactly these
        modules; raises the same errors as ``check_matches_base``."""
        # Name one path that only one side has.
        expected = {module.path: module for module in modules}
        if set(expected) != set(self.pairs):
            path = sorted(set(expected) ^ set(self.pairs))[0]
            raise MismatchError(f"adapter and base do not have the same target modules: {path}")
        for path, (a, b) in self.pairs.items():
            module, rank = expected[path], self.config.rank
            if a.shape != (rank, module.inputs) or b.shape != (module.outputs, rank):
                raise MismatchError(
                    f"adapter {path}: shapes {tuple(a.shape)}, {tuple(b.shape)} "
                    f"do not match {(rank, module.inputs)}, {(module.outputs, rank)}"
                )
            if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
                raise IntegrityError(f"adapter {path}: contains a number that is not finite")
        return self

    def tensors(self) -> dict[str, Tensor]:
        """Return A [R, D] and B [O, R] of each module, named ``PATH.lora_A`` and
        ``PATH.lora_B``."""
        return {
            f"{path}.lora_{letter}": tensor
            for path, pair in self.pairs.items()
            for letter, tensor in zip("AB", pair, strict=True)
        }

    @staticmethod
    def from_tensors(config: LoraConfig, base: str, tensors: Mapping[str, Tensor]) -> LoraAdapter:
        """Build an adapter from what ``tensors`` returned; raises IntegrityError if half a pair is
        missing.

        It does not compare shapes with a base; ``check_matches_base`` does.
        """
        # The names of the A matrices give the module paths.
        paths = [name.removesuffix(".lora_A") for name in tensors if name.endswith(".lora_A")]
        try:
            pairs = {p: (tensors[f"{p}.lora_A"], tensors[f"{p}.lora_B"]) for p in paths}
        except KeyError as error:
            raise IntegrityError(f"adapter: tensor {error} is missing") from error
        return LoraAdapter(config=config, base=base, pairs=pairs)

    def content_hash(self) -> str:
        """A SHA-256 over module paths and numbers (hex)."""
        digest = hashlib.sha256()
        for path, pair in sorted(self.pairs.items()):
            digest.update(path.encode())
            for tensor in pair:
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def stored_forms(self) -> Iterator[Tensor]:
        """Yield A, B, and A with the scale folded in, as ``concat_lora`` stores it."""
        for a, b in self.pairs.values():
            yield from (a, b, self.config.scale * a)

    def personal_forms(self) -> Iterator[Tensor]:
        """Yield B, and A in both forms unless all people share it."""
        for a, b in self.pairs.values():
            yield from () if self.config.shared_a else (a, self.config.scale * a)
            yield b


def require_lora(adapter: Adapter) -> LoraAdapter:
    """Return the adapter if it is a LoRA adapter, for operations that need one (merging,
    concatenating, gates); raises MismatchError for another kind."""
    if not isinstance(adapter, LoraAdapter):
        raise MismatchError(
            f"adapter is of kind {adapter.config.kind!r} ({adapter.config.description}); this "
            "operation supports LoRA adapters only"
        )
    return adapter


def require_lora_config(config: AdapterConfig) -> LoraConfig:
    """Return the config if it is a LoRA config; raises the same errors as ``require_lora``."""
    if not isinstance(config, LoraConfig):
        raise MismatchError(
            f"adapters are of kind {config.kind!r} ({config.description}); this operation "
            "supports LoRA adapters only"
        )
    return config


def num_layers(model: Any) -> int:
    """The number of decoder layers of the model."""
    try:
        return len(find_layers(find_decoder(model))[1])
    except LookupError:  # the layers are deeper in the decoder (RoFormer)
        return int(get_text_config(model).num_hidden_layers)


def find_first_layer(model: Any, config: AdapterConfig) -> int:
    """The index of the first layer that may have adapters; raises UsageError if the model has fewer
    layers than ``top_layers``."""
    if not config.top_layers:
        return 0
    if config.top_layers > num_layers(model):
        raise UsageError(f"lora.top_layers: {config.top_layers}, the base has {num_layers(model)}")
    return num_layers(model) - config.top_layers


def parse_layer_number(path: str) -> int | None:
    """The layer index in a module's path, read as PEFT reads it; None if there is none."""
    found = re.match(r".*?\.[^.]*\.(\d+)\.", path)
    return int(found[1]) if found else None


def target_modules(model: Any, config: LoraConfig) -> tuple[TargetModule, ...]:
    """Return the linear modules that get adapters, in the model's order.

    They are those that the targets mean, in the layers that have adapters.

    Raises UsageError if a target does not exist, if it is the output head (it runs on single
    positions, which the stacks do not support), or if the model has too few layers.
    """
    return _keep_top_layers(model, config, select_modules(model, config.targets))


def _keep_top_layers(
    model: Any, config: LoraConfig, modules: Sequence[TargetModule]
) -> tuple[TargetModule, ...]:
    """Return those of the modules that are in the layers which have adapters."""
    first = find_first_layer(model, config)
    found = tuple(module for module in modules if (parse_layer_number(module.path) or 0) >= first)
    if not found:
        raise UsageError(
            f"lora.targets: {config.description}: none of these modules is in the last "
            f"{config.top_layers} layers"
        )
    return found


def init_lora(base: Base, config: LoraConfig, *, seed: int, person: str) -> LoraAdapter:
    """Return a new adapter that does not change the base's output: A as PEFT draws it (Kaiming
    uniform), B zero.

    The draw depends on (seed, person) only, so it does not matter who else is trained. With a
    shared A it depends on the seed only.
    """
    config = config.resolve_for(base.model)
    # Derive the seed from names, so that the order of training does not matter.
    owner = "" if config.shared_a else person
    generator = torch.Generator().manual_seed(derive_seed(seed, owner, "lora init"))
    dtype = torch.float64 if base.dtype == torch.float64 else torch.float32
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    for module in target_modules(base.model, config):
        a = torch.empty(config.rank, module.inputs, dtype=dtype)
        nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
        pairs[module.path] = (a, torch.zeros(module.outputs, config.rank, dtype=dtype))
    return LoraAdapter(config=config, base=base.identity, pairs=pairs)


def widen_lora(adapter: LoraAdapter, config: LoraConfig, base: Base) -> LoraAdapter:
    """Return the adapter with zeros, which change nothing, for the modules and layers that a config
    has and the adapter lacks; the adapter itself if that does not give an adapter of the config."""
    widened = replace(adapter.config, targets=config.targets, top_layers=config.top_layers)
    modules = target_modules(base.model, config)
    if not (widened.is_same_kind(config) and set(adapter.pairs) <= {m.path for m in modules}):
        return adapter
    wide = next(iter(adapter.pairs.values()))[0].dtype
    zeros = {
        module.path: (
            torch.zeros(config.rank, module.inputs, dtype=wide),
            torch.zeros(module.outputs, config.rank, dtype=wide),
        )
        for module in modules
    }
    return LoraAdapter(config=widened, base=adapter.base, pairs=zeros | dict(adapter.pairs))


def merge_weight(
    weight: Tensor, a: Tensor, b: Tensor, scale: float, *, transposed: bool = False
) -> Tensor:
    """Return ``W + scale * B A``, computed and returned in fp32 (fp64 if W is fp64); with
    ``transposed``, W and the result are [D, O]."""
    # Adding a small update to a bf16 weight would lose most of it.
    wide = weight.dtype if weight.dtype == torch.float64 else torch.float32
    update_OD = scale * (b.to(wide) @ a.to(wide))
    return weight.to(wide) + (update_OD.T if transposed else update_OD)
