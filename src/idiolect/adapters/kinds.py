"""The kinds of adapters: what each is made of, by the name that tags its settings.

A new kind is a config and an adapter that fit ``protocol.py``, a stack, and one entry here.
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
    """(base, config, *, seed, person) to a new adapter that changes nothing yet; the draw depends
    on (seed, person) alone."""
    from_tensors: Callable[[Any, str, Mapping[str, Tensor]], Adapter]
    """(config, identity of the base, tensors by name) to the adapter they are of; raises
    IntegrityError if some are missing."""
    stack_class: Callable[[Base, Any, int], TrainableStack[Adapter]]
    """(base, config, slots) to an empty stack."""
    packs: bool = False
    """Whether its stack has ``applied_to_tokens``, which the layout without padding needs."""


KINDS: dict[str, KindSpec] = {
    LoraConfig.kind: KindSpec(
        config_class=LoraConfig,
        init_adapter=init_lora,
        from_tensors=LoraAdapter.from_tensors,
        stack_class=LoraStack,
        packs=True,
    )
}
"""Every kind by its name."""

_UNTAGGED = LoraConfig.kind
"""The kind of files that name none: those from before there were several, and today's LoRA."""


def find_kind(name: str) -> KindSpec:
    """A kind by its name; raises MismatchError for an unknown one."""
    if name not in KINDS:
        known = ", ".join(sorted(KINDS))
        raise MismatchError(f"adapters of kind {name!r} are not known here (known: {known})")
    return KINDS[name]


def init_adapter(base: Base, config: AdapterConfig, *, seed: int, person: str) -> Adapter:
    """A new adapter that changes nothing yet, the same for the same (seed, person)."""
    return find_kind(config.kind).init_adapter(base, config, seed=seed, person=person)


def restore_adapter(config: AdapterConfig, base: str, tensors: Mapping[str, Tensor]) -> Adapter:
    """The adapter of these tensors, made for the base of that identity; raises IntegrityError."""
    return find_kind(config.kind).from_tensors(config, base, tensors)


def create_stack(base: Base, config: AdapterConfig, slots: int) -> TrainableStack[Adapter]:
    """An empty stack for ``slots`` adapters of one config."""
    return find_kind(config.kind).stack_class(base, config, slots)


def stack_adapters(base: Base, adapters: Sequence[Adapter]) -> TrainableStack[Adapter]:
    """A stack that holds the given adapters (all of one config), in order."""
    assert adapters
    stack = create_stack(base, adapters[0].config, len(adapters))
    for slot, adapter in enumerate(adapters):
        stack.load_slot(slot, adapter)
    return stack


def kind_tag(config: AdapterConfig) -> dict[str, str]:
    """What tells a config's plain data from that of other kinds: its kind, nothing for LoRA."""
    return {} if config.kind == _UNTAGGED else {"kind": config.kind}


def config_to_header(config: AdapterConfig) -> dict[str, Any]:
    """A config as entries of a file's head: the settings under the kind's name, and the kind, which
    is left out for LoRA."""
    return {**kind_tag(config), config.kind: to_plain(config)}


def config_from_header(head: Mapping[str, Any], *, where: str) -> AdapterConfig:
    """The config that ``config_to_head`` wrote; raises KeyError if there is none, MismatchError for
    an unknown kind, UsageError for unknown settings."""
    kind = str(head.get("kind", _UNTAGGED))
    return from_plain(find_kind(kind).config_class, head[kind], where=where)
