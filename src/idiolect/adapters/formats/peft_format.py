"""What PEFT's two files say of one kind of adapter: a value that each kind fills in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from idiolect.adapters.protocol import Adapter, AdapterConfig
from idiolect.models.base import Base


@dataclass(frozen=True, slots=True, kw_only=True)
class PeftFormat:
    """How one kind of adapter is written as PEFT writes it, and read back."""

    peft_type: str
    """What ``peft_type`` says in the config file, e.g. ``LORA``."""
    render_config: Callable[[Any, str, Sequence[int]], bytes]
    """(adapter, name of the base, invocation tokens) to the config file."""
    name_tensors: Callable[[Any], Mapping[str, Tensor]]
    """(adapter) to its tensors under PEFT's names."""
    sort_config: Callable[[Any], AdapterConfig]
    """(config) to the config that equal adapters have in common, for the manifest."""
    parse_config: Callable[[bytes, object], Any]
    """(config file, where it is) to its settings; raises IntegrityError for a broken file,
    MismatchError for what is not supported."""
    read_adapter: Callable[[Any, Mapping[str, Tensor], Base, object], Adapter]
    """(settings, tensors under PEFT's names, base, where they are) to the adapter, checked against
    the base; raises IntegrityError or MismatchError."""
