"""Registry of adapter kinds, by the name that is written to files.

To add a kind: write a config and an adapter that implement ``protocol.py``, a stack that extends
``stacks/base.py``, and one entry in ``KINDS``. ``tests/support/toy_adapter.py`` is a small example.
To export the kind, also add its ``PeftFormat`` to ``PEFT_FORMATS`` in ``formats/peft.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from idiolect.adapters.lora import LoraAdapter, LoraConfig, init_lora
from idiolect.adapters.protocol import Adapter, AdapterConfig
from idiolect.adapters.stacks.base import TrainableStack
from idiolect.adapters.stacks.lora import LoraStack
from idiolect.config import from_plain, to_plain
from idiolect.errors import MismatchError
from idiolect.models.base import Base


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSpec:
    """One kind of adapter. ``config`` below is an instance of ``config_class``."""

    config_class: type[AdapterConfig]
    init_adapter: Callable[..., Adapter]
    """(base, config, *, seed, person) -> a new adapter that does not change the base's output. The
    random draw depends on (seed, person) only."""
    from_tensors: Callable[[Any, str, Mapping[str, Tensor]], Adapter]
    """(config, base identity, tensors by name) -> the adapter; raises IntegrityError if tensors are
    missing."""
    stack_class: Callable[[Base, Any, int], TrainableStack[Adapter]]
    """(base, config, number of slots) -> an empty stack."""
    packs: bool = False
    """Whether the stack implements ``activate_packed``, which the layout without padding needs."""


KINDS: dict[str, KindSpec] = {
    LoraConfig.kind: KindSpec(
        config_class=LoraConfig,
        init_adapter=init_lora,
        from_tensors=LoraAdapter.from_tensors,
        stack_class=LoraStack,
        packs=True,
    )
}
"""All kinds by name."""

_UNTAGGED = LoraConfig.kind
"""The kind of files without a ``kind`` entry: LoRA, and all files written before there were other
kinds."""


def find_kind(name: str) -> KindSpec:
    """Return a kind by name; raises MismatchError if it is unknown."""
    if name not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise MismatchError(f"unknown adapter kind {name!r} (known: {known})")
    return KINDS[name]


def init_adapter(base: Base, config: AdapterConfig, *, seed: int, person: str) -> Adapter:
    """Return a new adapter that does not change the base's output; equal for equal (seed,
    person)."""
    return find_kind(config.kind).init_adapter(base, config, seed=seed, person=person)


def restore_adapter(config: AdapterConfig, base: str, tensors: Mapping[str, Tensor]) -> Adapter:
    """Build an adapter for the base with that identity from its tensors; raises IntegrityError."""
    return find_kind(config.kind).from_tensors(config, base, tensors)


def create_stack(base: Base, config: AdapterConfig, slots: int) -> TrainableStack[Adapter]:
    """Return an empty stack for ``slots`` adapters of one config."""
    return find_kind(config.kind).stack_class(base, config, slots)


def stack_adapters(base: Base, adapters: Sequence[Adapter]) -> TrainableStack[Adapter]:
    """Return a stack with the given adapters in order; all must have the same config."""
    assert adapters
    # ``load_slot`` raises if a later adapter has another config.
    stack = create_stack(base, adapters[0].config, len(adapters))
    for slot, adapter in enumerate(adapters):
        stack.load_slot(slot, adapter)
    return stack


def kind_tag(config: AdapterConfig) -> dict[str, str]:
    """The ``kind`` entry of a config's plain data; empty for LoRA."""
    return {} if config.kind == _UNTAGGED else {"kind": config.kind}


def config_to_header(config: AdapterConfig) -> dict[str, Any]:
    """Return a config as header entries: the settings under the kind's name, and the kind (omitted
    for LoRA)."""
    return {**kind_tag(config), config.kind: to_plain(config)}


def config_from_header(head: Mapping[str, Any], *, where: str) -> AdapterConfig:
    """Read the config that ``config_to_header`` wrote. Raises KeyError if there is none,
    MismatchError for an unknown kind or if settings depend on the model, UsageError for unknown
    settings."""
    kind = str(head.get("kind", _UNTAGGED))
    config = from_plain(find_kind(kind).config_class, head[kind], where=where)
    # The file may be foreign: a regular expression in it must never run.
    if not config.is_resolved:
        raise MismatchError(f"{where}: expected names of modules, got {config.description[:200]}")
    return config
