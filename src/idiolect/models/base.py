"""A frozen base model in memory.

This module does not depend on adapters or people.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast

from idiolect.errors import MismatchError
from idiolect.models.structure import get_text_config
from idiolect.models.ways import Ways


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A frozen causal language model in eval mode, and the hash that identifies it."""

    name: str
    identity: str
    """SHA-256 over the weight files (hex). Adapters are bound to it."""
    tokenizer_identity: str
    model: Any
    """The transformers model; no parameter requires gradients."""
    tokenizer: PreTrainedTokenizerFast
    source: str = ""
    """The argument of ``load_base``, the same from any working folder: ``default``, a folder's
    whole path, or ``hub:`` and a hub id."""
    folder: Path | None = None
    """The folder of the weights; None for a model that was created in memory."""
    quantization: str = "none"
    """How the linear layers' weights are quantized: ``none``, ``nf4``, ``fp4``, ``int8`` or
    ``torchao-int8``."""
    ways: Ways = field(default_factory=Ways)
    """Which fast ways of running this base are right."""

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights, in which quantized layers compute, too."""
        dtypes = (p.dtype for p in self.model.parameters() if p.is_floating_point())
        return next(dtypes)

    def require_way(self, way: str) -> None:
        """Raise MismatchError if a way of running (a field of ``Ways``) is wrong for this base."""
        if not getattr(self.ways, way):
            reason = self.ways.reasons.get(way, "it was found to be wrong")
            raise MismatchError(
                f"{self.name}: the way {way!r} of running it is off for this base: {reason}; run "
                "its rows in the plain way"
            )

    @property
    def pad_token_id(self) -> int:
        """The token that pads rows. Any token would do, because no real token attends to
        padding."""
        return int(get_text_config(self.model).vocab_size) - 1

    @property
    def max_tokens(self) -> int:
        """The longest sequence that the model supports, in tokens."""
        return int(getattr(get_text_config(self.model), "max_position_embeddings", 2048))


def hash_tokenizer(tokenizer: PreTrainedTokenizerFast) -> str:
    """SHA-256 of the tokenizer's serialized state and chat template (hex)."""
    text = tokenizer.backend_tokenizer.to_str() + repr(tokenizer.chat_template)
    return hashlib.sha256(text.encode()).hexdigest()
