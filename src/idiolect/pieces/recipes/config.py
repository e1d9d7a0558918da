"""Settings of assembling, as values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from idiolect.errors import UsageError
from idiolect.models.device import DtypeName
from idiolect.models.quantization.kinds import QuantizeName
from idiolect.prompts.render import PromptConfig

Aggregate = Literal["delta", "factors"]
By = Literal["gates", "likelihood"]


@dataclass(frozen=True, kw_only=True)
class AssembleConfig:
    """How a target user's adapter is assembled from sharers' adapters.

    Three pieces per module, temperature 1 and the whole history are the settings of the Per-Pcs
    paper.
    """

    by: By = "likelihood"
    """``likelihood``: weights whole adapters by how well they predict the answers in the history;
    the better way on both measured tasks (``docs/pieces.md``). ``gates``: weights pieces, module by
    module, by how well their gates fit the history's activations, as in the paper; takes one
    forward, whatever the size of the pool."""
    top_k: int = 3
    top_p: float = 0.0
    """If set, replaces ``top_k``: the fewest pieces whose weights sum to at least this; 0 for
    off."""
    sample: bool = False
    """Sample ``top_k`` pieces by their weights, without replacement, instead of taking the best."""
    temperature: float = 1.0
    recent_k: int = 0
    """Use only the latest n items; 0 for all."""
    aggregate: Aggregate = "delta"
    """``delta``: the weighted sum of the pieces' updates B A. ``factors``: sums A and B separately,
    as the published code does; this is a different update, of a third of the rank."""
    candidates: int = 32
    """For ``likelihood``: the maximum number of sharers to score; a seeded draw from larger
    pools."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by not in ("gates", "likelihood"):
            raise UsageError(f"assemble.by: must be 'gates' or 'likelihood', got {self.by!r}")
        if self.by == "likelihood" and (self.top_p or self.sample or self.aggregate != "delta"):
            raise UsageError(
                "assemble.by: top_p, sample and aggregate 'factors' need pieces chosen by gates; "
                "set assemble.by = 'gates' (--by gates) to use them"
            )
        if self.candidates < 1:
            raise UsageError(f"assemble.candidates: must be at least 1, got {self.candidates}")
        if self.top_k < 1:
            raise UsageError(f"assemble.top_k: must be at least 1, got {self.top_k}")
        if not 0 <= self.top_p <= 1:
            raise UsageError(f"assemble.top_p: must be in (0, 1], or 0 for off, got {self.top_p}")
        if self.top_p and self.sample:
            raise UsageError("assemble.sample: draws top_k pieces; set assemble.top_p to 0")
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
    """Everything that determines people's recipes."""

    assemble: AssembleConfig = field(default_factory=AssembleConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    dtype: DtypeName = "auto"
    device: str = "auto"
    quantize: QuantizeName = "none"
    """How the base's linear layers are quantized when it is loaded (``models/quantization/``)."""
