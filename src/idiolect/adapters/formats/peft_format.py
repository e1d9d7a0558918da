"""Interface between PEFT's two files and one kind of adapter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from idiolect.adapters.protocol import Adapter, AdapterConfig
from idiolect.models.base import Base


@dataclass(frozen=True, slots=True, kw_only=True)
class PeftFormat:
    """Functions that write one kind of adapter as PEFT does, and read it back."""

    peft_type: str
    """The value of ``peft_type`` in the config file, e.g. ``LORA``."""
    render_config: Callable[[Any, str, Sequence[int]], bytes]
    """(adapter, base name, invocation tokens) -> bytes of the config file."""
    name_tensors: Callable[[Any], Mapping[str, Tensor]]
    """(adapter) -> its tensors under PEFT's names."""
    sort_config: Callable[[Any], AdapterConfig]
    """(config) -> a canonical config for the manifest: equal for equal adapters."""
    parse_config: Callable[[bytes, object], Any]
    """(config file, its path for messages) -> settings; raises IntegrityError if the file is
    malformed, MismatchError if a setting is not supported."""
    read_adapter: Callable[[Any, Mapping[str, Tensor], Base, object], Adapter]
    """(settings, tensors under PEFT's names, base, path for messages) -> the adapter, checked
    against the base; raises IntegrityError or MismatchError."""
