"""What can be set about assembling, as a value."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from idiolect.errors import UsageError
from idiolect.models.device import DtypeName
from idiolect.prompts.render import PromptConfig

Aggregate = Literal["delta", "factors"]
By = Literal["gates", "likelihood"]


@dataclass(frozen=True, kw_only=True)
class AssembleConfig:
    """How a newcomer's adapter is put together out of others'.

    Three pieces a module, temperature 1 and the whole history are the Per-Pcs paper's.
    """

    by: By = "likelihood"
    """``likelihood``: whole adapters, by how well they predict the history's answers; on both tasks
    measured the better way (``docs/pieces.md``). ``gates``: pieces, module by module, by the gates
    that fit the history's activations, as the paper does; in one forward, whatever the pool's size.
    """
    top_k: int = 3
    top_p: float = 0.0
    """Instead of ``top_k``: the fewest pieces whose weights reach it; 0 for off."""
    sample: bool = False
    """Draw ``top_k`` pieces by their weights, without putting back, instead of taking the best."""
    temperature: float = 1.0
    recent_k: int = 0
    """Look at so many of the latest items alone, 0 for all."""
    aggregate: Aggregate = "delta"
    """The weighted sum of the pieces' updates B A; ``factors`` sums A and B each, as the published
    code does, which is another update of a third of the rank."""
    candidates: int = 32
    """By likelihood: at most so many sharers are asked, a seeded draw of larger pools."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by not in ("gates", "likelihood"):
            raise UsageError(f"assemble.by: must be 'gates' or 'likelihood', got {self.by!r}")
        if self.by == "likelihood" and (self.top_p or self.sample or self.aggregate != "delta"):
            raise UsageError(
                "assemble.by: top_p, sample and aggregate 'factors' choose pieces by gates; say "
                "assemble.by = 'gates' (--by gates) with them"
            )
        if self.candidates < 1:
            raise UsageError(f"assemble.candidates: must be at least 1, got {self.candidates}")
        if self.top_k < 1:
            raise UsageError(f"assemble.top_k: must be at least 1, got {self.top_k}")
        if not 0 <= self.top_p <= 1:
            raise UsageError(f"assemble.top_p: must be in (0, 1], or 0 for off, got {self.top_p}")
        if self.top_p and self.sample:
            raise UsageError("assemble.sample: draws top_k pieces; leave assemble.top_p at 0")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise UsageError(f"assemble.temperature: must be above 0, got {self.temperature}")
        if self.recent_k < 0:
            raise UsageError(f"assemble.recent_k: must be 0 (all) or more, got {self.recent_k}")
        if self.aggregate not in ("delta", "factors"):
            raise UsageError(
                f"assemble.aggregate: must be 'delta' or 'factors', got {self.aggregate!r}"
            )


@dataclass(frozen=True, kw_only=True)
class RecipeConfig:
    """Everything that decides what people's recipes become."""

    assemble: AssembleConfig = field(default_factory=AssembleConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    dtype: DtypeName = "auto"
    device: str = "auto"
