"""A LoRA adapter as a value: config, shapes and tensors; knows nothing of files or training.

Shapes: ``D`` width of a module's input, ``O`` of its output, ``R`` rank. An adapter adds
``scale * B A x`` to a module's output, A [R, D], B [O, R], scale = alpha / rank (Hu et al., 2021).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from idiolect.adapters.protocol import Adapter, AdapterConfig
from idiolect.config import derive_seed
from idiolect.errors import IntegrityError, MismatchError, UsageError
from idiolect.models.base import Base


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Where adapters sit and how large they are.

    vLLM accepts ranks 8, 16, 32, 64 and so on. ``alpha`` equal to the rank and q and v follow the
    OPPU paper; dropout is 0 by default since at two or three epochs of some hundred items it
    measured no better and makes steps slower.
    """

    kind: ClassVar[str] = "lora"

    rank: int = 8
    alpha: float = 8.0
    dropout: float = 0.0
    targets: tuple[str, ...] = ("q_proj", "v_proj")
    active: Literal["all", "answer"] = "all"
    """On which tokens adapters act: all, or from the one on that asks for the answer (activated
    LoRA). The prompt is then the bare base's, so it runs through it once, whosever it is."""
    top_layers: int = 0
    """Adapt only so many of the last layers, 0 for all. Those below run once, not every epoch."""
    shared_a: bool = False
    """Everyone has the same A and trains B alone."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UsageError(f"lora.rank: must be at least 1, got {self.rank}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"lora.dropout: must be in [0, 1), got {self.dropout}")
        if not self.targets:
            raise UsageError("lora.targets: name at least one module, e.g. q_proj")
        if self.top_layers < 0:
            raise UsageError(f"lora.top_layers: must be 0 (all) or more, got {self.top_layers}")
        if self.active not in ("all", "answer"):
            raise UsageError(f"lora.active: must be 'all' or 'answer', got {self.active!r}")

    @property
    def scale(self) -> float:
        """What B A is multiplied with."""
        return self.alpha / self.rank

    @property
    def description(self) -> str:
        """In words, for messages."""
        out = f"rank {self.rank}, alpha {self.alpha:g}, targets {', '.join(sorted(self.targets))}"
        out += f", the last {self.top_layers} layers" if self.top_layers else ""
        return out + (", on answers only" if self.active == "answer" else "")

    def is_same_kind(self, other: AdapterConfig) -> bool:
        """Whether adapters of both mean the same with the same tensors: all but what is for
        training only."""
        return isinstance(other, LoraConfig) and self._kind_key() == other._kind_key()

    def check_model(self, model: Any) -> None:
        """Raise UsageError if the model lacks the targets or has too few layers."""
        target_modules(model, self)

    def count_numbers(self, model: Any) -> int:
        """How many numbers one adapter has on this model; raises as ``check_model``."""
        return sum(self.rank * (site.inputs + site.outputs) for site in target_modules(model, self))

    def _kind_key(self) -> tuple[object, ...]:
        return (self.rank, self.alpha, frozenset(self.targets), self.active, self.top_layers)


@dataclass(frozen=True, slots=True)
class TargetModule:
    """One module that carries an adapter: its path in the model, and its widths."""

    path: str
    inputs: int
    outputs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraAdapter:
    """One adapter: per site path the pair (A [R, D], B [O, R])."""

    config: LoraConfig
    base: str
    """The identity of the base it was made for."""
    pairs: Mapping[str, tuple[Tensor, Tensor]]

    @property
    def num_bytes(self) -> int:
        """Size of the tensors."""
        return sum(t.numel() * t.element_size() for pair in self.pairs.values() for t in pair)

    def check_matches_base(self, base: Base, config: AdapterConfig | None = None) -> LoraAdapter:
        """Itself, if it fits the base (and is of the config's kind).

        Raises MismatchError for another base, kind or shape, IntegrityError where a number is not
        finite.
        """
        if config is not None and not config.is_same_kind(self.config):
            raise MismatchError(
                f"adapter has {self.config.description}; here is {config.description}: use the "
                "same "
                "settings"
            )
        if self.base != base.identity:
            raise MismatchError(
                f"adapter was made for base {self.base[:12]}, this is {base.identity[:12]} "
                f"({base.name}); load it with the base it was trained on"
            )
        return self.check_target_modules(target_modules(base.model, self.config))

    def check_target_modules(self, modules: Iterable[TargetModule]) -> LoraAdapter:
        """Itself, if it has finite pairs of the right shapes at just these sites; else as
        ``check``."""
        expected = {site.path: site for site in modules}
        if set(expected) != set(self.pairs):
            odd = sorted(set(expected) ^ set(self.pairs))[0]
            raise MismatchError(f"adapter and base disagree on which modules there are: {odd}")
        for path, (a, b) in self.pairs.items():
            site, rank = expected[path], self.config.rank
            if a.shape != (rank, site.inputs) or b.shape != (site.outputs, rank):
                raise MismatchError(
                    f"adapter {path}: shapes {tuple(a.shape)}, {tuple(b.shape)} "
                    f"do not fit {(rank, site.inputs)}, {(site.outputs, rank)}"
                )
            if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
                raise IntegrityError(f"adapter {path}: holds a number that is not finite")
        return self

    def tensors(self) -> dict[str, Tensor]:
        """A [R, D] and B [O, R] of each site, named ``PATH.lora_A`` and ``PATH.lora_B``."""
        return {
            f"{path}.lora_{letter}": tensor
            for path, pair in self.pairs.items()
            for letter, tensor in zip("AB", pair, strict=True)
        }

    @staticmethod
    def from_tensors(config: LoraConfig, base: str, tensors: Mapping[str, Tensor]) -> LoraAdapter:
        """The adapter whose ``tensors`` these are; raises IntegrityError if half a pair is missing.

        Its shapes are not compared with a base; ``check`` does that.
        """
        paths = [name.removesuffix(".lora_A") for name in tensors if name.endswith(".lora_A")]
        try:
            pairs = {p: (tensors[f"{p}.lora_A"], tensors[f"{p}.lora_B"]) for p in paths}
        except KeyError as error:
            raise IntegrityError(f"adapter: the tensor {error} is missing") from error
        return LoraAdapter(config=config, base=base, pairs=pairs)

    def content_hash(self) -> str:
        """A SHA-256 over the sites' paths and numbers (hex)."""
        digest = hashlib.sha256()
        for path, pair in sorted(self.pairs.items()):
            digest.update(path.encode())
            for tensor in pair:
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def stored_forms(self) -> Iterator[Tensor]:
        """A, B, and A with the scale folded in, as it is stacked on others."""
        for a, b in self.pairs.values():
            yield from (a, b, self.config.scale * a)

    def personal_forms(self) -> Iterator[Tensor]:
        """B, and A in both forms unless everyone shares it."""
        for a, b in self.pairs.values():
            yield from () if self.config.shared_a else (a, self.config.scale * a)
            yield b


def require_lora(adapter: Adapter) -> LoraAdapter:
    """The adapter, for what only LoRA can do (merging, concatenating, gates); raises MismatchError
    for another kind."""
    if not isinstance(adapter, LoraAdapter):
        raise MismatchError(
            f"adapter is of kind {adapter.config.kind!r} ({adapter.config.description}); this "
            "can be "
            "done with LoRA adapters only"
        )
    return adapter


def require_lora_config(config: AdapterConfig) -> LoraConfig:
    """The config, as ``require_lora`` for adapters."""
    if not isinstance(config, LoraConfig):
        raise MismatchError(
            f"adapters are of kind {config.kind!r} ({config.description}); this can be done with "
            "LoRA adapters only"
        )
    return config


def num_layers(model: Any) -> int:
    """How many layers the model has."""
    return len(model.get_decoder().layers)


def find_first_layer(model: Any, config: AdapterConfig) -> int:
    """The first layer that may carry adapters; raises UsageError for more than there are."""
    if not config.top_layers:
        return 0
    if config.top_layers > num_layers(model):
        raise UsageError(f"lora.top_layers: {config.top_layers}, the base has {num_layers(model)}")
    return num_layers(model) - config.top_layers


def parse_layer_number(path: str) -> int | None:
    """The number of the layer that a module's path lies in, as PEFT reads it."""
    found = re.match(r".*?\.[^.]*\.(\d+)\.", path)
    return int(found[1]) if found else None


def target_modules(model: Any, config: LoraConfig) -> tuple[TargetModule, ...]:
    """The linear modules that carry adapters: by their last name and layer, in the model's order.

    Raises UsageError for a target that is not there, or is the output head: that is applied to
    single positions, not to rows of tokens; and for more layers than there are.
    """
    first = find_first_layer(model, config)
    named = [
        TargetModule(path, module.in_features, module.out_features)
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and path.rpartition(".")[2] in config.targets
    ]
    head = model.get_output_embeddings()
    for site in named:
        if model.get_submodule(site.path) is head:
            raise UsageError(f"lora.targets: the output head {site.path!r} cannot carry an adapter")
    for target in config.targets:
        if not any(site.path.rpartition(".")[2] == target for site in named):
            raise UsageError(f"lora.targets: the base model has no linear module named {target!r}")
    return tuple(site for site in named if (parse_layer_number(site.path) or 0) >= first)


def init_lora(base: Base, config: LoraConfig, *, seed: int, person: str) -> LoraAdapter:
    """A new adapter that changes nothing yet: A as PEFT draws it (Kaiming uniform), B zero.

    The draw depends on (seed, person) alone, so it is the same whoever else is trained; with a
    shared A, on the seed alone.
    """
    whose = "" if config.shared_a else person
    generator = torch.Generator().manual_seed(derive_seed(seed, whose, "lora init"))
    dtype = torch.float64 if base.dtype == torch.float64 else torch.float32
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    for site in target_modules(base.model, config):
        a = torch.empty(config.rank, site.inputs, dtype=dtype)
        nn.init.kaiming_uniform_(a, a=math.sqrt(5), generator=generator)
        pairs[site.path] = (a, torch.zeros(site.outputs, config.rank, dtype=dtype))
    return LoraAdapter(config=config, base=base.identity, pairs=pairs)


def merge_weight(weight: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
    """``W + scale * B A`` computed in fp32 (or fp64 where W is), in fp32 or fp64."""
    wide = weight.dtype if weight.dtype == torch.float64 else torch.float32
    return weight.to(wide) + scale * (b.to(wide) @ a.to(wide))
