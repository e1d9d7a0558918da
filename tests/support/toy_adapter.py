"""A second kind of adapter, for tests only: a bias on the output of each target module.

It is also the smallest complete example of a kind: config, adapter, stack, and their registration.

Shapes: ``U`` slots, ``B`` rows of a batch, ``O`` output width of a module.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from idiolect.adapters.formats.peft_format import PeftFormat
from idiolect.adapters.hooks import Hook, forward_hooks
from idiolect.adapters.kinds import KindSpec
from idiolect.adapters.lora import LoraConfig, target_modules
from idiolect.adapters.protocol import Adapter, AdapterConfig
from idiolect.adapters.stacks.base import Dropout, TrainableStack
from idiolect.adapters.targets.linear import TargetModule
from idiolect.config import derive_seed
from idiolect.errors import IntegrityError, MismatchError, UsageError
from idiolect.models.base import Base


@dataclass(frozen=True, kw_only=True)
class BiasConfig:
    """The target modules, and the standard deviation of the initial biases."""

    kind: ClassVar[str] = "bias"

    targets: tuple[str, ...] = ("q_proj", "v_proj")
    spread: float = 0.0

    @property
    def dropout(self) -> float:
        return 0.0

    @property
    def active(self) -> Literal["all", "answer"]:
        return "all"

    @property
    def top_layers(self) -> int:
        return 0

    @property
    def description(self) -> str:
        return f"a bias on {', '.join(sorted(self.targets))}"

    def is_same_kind(self, other: AdapterConfig) -> bool:
        return isinstance(other, BiasConfig) and set(self.targets) == set(other.targets)

    @property
    def is_resolved(self) -> bool:
        return True

    def resolve_for(self, model: Any) -> BiasConfig:
        return self

    def find_target_modules(self, model: Any) -> tuple[TargetModule, ...]:
        return target_modules(model, LoraConfig(targets=self.targets))

    def check_model(self, model: Any) -> None:
        self.find_target_modules(model)

    def list_target_paths(self, model: Any) -> tuple[str, ...]:
        return tuple(module.path for module in self.find_target_modules(model))

    def count_parameters(self, model: Any) -> int:
        return sum(module.outputs for module in self.find_target_modules(model))


@dataclass(frozen=True, slots=True, kw_only=True)
class BiasAdapter:
    """One adapter: a vector [O] for each module path."""

    config: BiasConfig
    base: str
    biases: Mapping[str, Tensor]

    @property
    def num_bytes(self) -> int:
        return sum(bias.numel() * bias.element_size() for bias in self.biases.values())

    def check_matches_base(self, base: Base, config: AdapterConfig | None = None) -> BiasAdapter:
        if config is not None and not self.config.is_same_kind(config):
            raise MismatchError(
                f"adapter is {self.config.description}, expected {config.description}"
            )
        if self.base != base.identity:
            raise MismatchError(f"adapter was made for base {self.base[:12]}")
        expected = {s.path: (s.outputs,) for s in self.config.find_target_modules(base.model)}
        if {path: tuple(bias.shape) for path, bias in self.biases.items()} != expected:
            raise MismatchError("adapter and base do not have the same modules or widths")
        if not all(bool(torch.isfinite(bias).all()) for bias in self.biases.values()):
            raise IntegrityError("adapter: a number is not finite")
        return self

    def tensors(self) -> dict[str, Tensor]:
        return {f"{path}.bias": bias for path, bias in self.biases.items()}

    @staticmethod
    def from_tensors(config: BiasConfig, base: str, tensors: Mapping[str, Tensor]) -> BiasAdapter:
        biases = {name.removesuffix(".bias"): tensor for name, tensor in tensors.items()}
        return BiasAdapter(config=config, base=base, biases=biases)

    def content_hash(self) -> str:
        digest = hashlib.sha256()
        for name, tensor in sorted(self.tensors().items()):
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def stored_forms(self) -> Iterator[Tensor]:
        yield from self.biases.values()

    def personal_forms(self) -> Iterator[Tensor]:
        yield from self.biases.values()


def init_bias(base: Base, config: BiasConfig, *, seed: int, person: str) -> BiasAdapter:
    """Draw biases from (seed, person); zeros if the config's spread is 0."""
    generator = torch.Generator().manual_seed(derive_seed(seed, person, "bias init"))
    biases = {
        module.path: config.spread * torch.randn(module.outputs, generator=generator)
        for module in config.find_target_modules(base.model)
    }
    return BiasAdapter(config=config, base=base.identity, biases=biases)


class BiasStack(TrainableStack[BiasAdapter]):
    """The biases of ``U`` slots, trained by torch's autograd."""

    def __init__(self, base: Base, config: BiasConfig, slots: int) -> None:
        self.config = config
        self.target_modules = config.find_target_modules(base.model)
        super().__init__(base, slots=slots, size=config.count_parameters(base.model))
        self._leaf = self._weights_with_zero

    def _split_buffer(self, buffer: Tensor) -> dict[str, Tensor]:
        parts = buffer.split([module.outputs for module in self.target_modules], dim=1)
        return {module.path: part for module, part in zip(self.target_modules, parts, strict=True)}

    def train(self) -> BiasStack:
        super().train()
        # The same memory, so that autograd adds up in place.
        self._leaf = self._weights_with_zero.detach().requires_grad_()
        self._leaf.grad = self._grads_with_zero
        return self

    @torch.no_grad()
    def load_slot(self, slot: int, adapter: Adapter) -> None:
        adapter.check_matches_base(self.base, self.config)
        for path, bias in self._split_buffer(self.weights).items():
            bias[slot].copy_(adapter.tensors()[f"{path}.bias"])

    def from_row(self, row: Tensor) -> BiasAdapter:
        biases = {path: bias[0] for path, bias in self._split_buffer(row[None]).items()}
        return BiasAdapter(config=self.config, base=self.base.identity, biases=biases)

    @contextmanager
    def activate(
        self, rows: Tensor, *, active: Tensor | None = None, dropout: Dropout | None = None
    ) -> Iterator[None]:
        if active is not None or dropout is not None:
            raise UsageError("a bias acts on all tokens, without dropout")
        slot_B = self._select_zero_slot(rows)

        def make_hook(bias_UO: Tensor) -> Hook:
            bias_BO = bias_UO[slot_B]
            return lambda module, inputs, output: output + bias_BO[:, None, :].to(output.dtype)

        biases = self._split_buffer(self._leaf)
        with forward_hooks(self.base.model, {path: make_hook(b) for path, b in biases.items()}):
            yield


BIAS = KindSpec(
    config_class=BiasConfig,
    init_adapter=init_bias,
    from_tensors=BiasAdapter.from_tensors,
    stack_class=BiasStack,
)

BIAS_FORMAT = PeftFormat(
    peft_type="TOY_BIAS",
    render_config=lambda adapter, name, tokens: json.dumps(
        {"peft_type": "TOY_BIAS", "target_modules": adapter.config.targets}
    ).encode(),
    name_tensors=BiasAdapter.tensors,
    sort_config=lambda config: config,
    parse_config=lambda raw, where: BiasConfig(targets=tuple(json.loads(raw)["target_modules"])),
    read_adapter=lambda config, tensors, base, where: BiasAdapter.from_tensors(
        config, base.identity, tensors
    ).check_matches_base(base),
)
