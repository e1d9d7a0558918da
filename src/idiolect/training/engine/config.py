"""Settings of the engine: people at once, tokens per forward, layout and caches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from idiolect.errors import UsageError
from idiolect.training.engine.activation_cache import DEFAULT_CACHE_BYTES

MIN_FORWARD_TOKENS = 1024
"""Tokens of a forward on a CPU, and the lower bound of the derived number on a GPU."""


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Settings that change speed and rounding, but not what the engine computes."""

    slots: int = 0
    """People trained at once. 0: as many as fill a forward, limited by free memory."""
    forward_tokens: int = 0
    """Tokens in one forward, padding included; bounds memory. 0: 1,024 on a CPU (on two cores, 600
    to 1,200 were a tenth faster than 2,048, because activations stay in the CPU caches), and on
    CUDA as many as memory allows."""
    layout: Literal["auto", "rows", "packed"] = "auto"
    """``rows``: padded rows of similar length. ``packed``: sequences without padding, with grouped
    matrix products. ``auto``: packed on CUDA if it is right on the base, rows elsewhere. Rows are
    always used with dropout, with adapters that act on answers only or in top layers only, and if a
    layer does not attend to all tokens."""
    keep: bool = True
    """Run the part that no adapter changes once, and cache its activations (if ``lora`` leaves such
    a part, and the base can continue from it)."""
    keep_bytes: int = DEFAULT_CACHE_BYTES
    """Size of this cache; the least recently used entry is dropped first."""
    share: bool = True
    """Run prefixes that a person's prompts share once per step, if the base can continue from
    them."""
    pack: bool = True
    """Prepack the base's weight matrices for the CPU once, if possible and right on the base."""
    compile: bool = False
    """Compile the elementwise operations between matrix products: a tenth faster, after about 20
    seconds of compilation per process. Useful for runs of many minutes."""
    checkpoint_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name, least in (("slots", 0), ("forward_tokens", 0), ("keep_bytes", 0)):
            if getattr(self, name) < least:
                raise UsageError(
                    f"engine.{name}: must be at least {least}, got {getattr(self, name)}"
                )
        if self.layout not in ("auto", "rows", "packed"):
            raise UsageError(
                f"engine.layout: must be 'auto', 'rows' or 'packed', got {self.layout!r}"
            )

    @property
    def scoring_tokens(self) -> int:
        """Tokens in a forward that only scores.

        Never derived from free memory, so that other processes cannot influence a gate's decision.
        """
        return self.forward_tokens or MIN_FORWARD_TOKENS
