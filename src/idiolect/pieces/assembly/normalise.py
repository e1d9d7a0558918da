"""What a module's inputs say about which gates they fit: LN without eps, and its mean.

Shapes: ``M`` positions that predict answer tokens, ``D`` width of the module's input.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLAT_TOLERANCE = 8
"""An input whose spread is so many roundings of its largest entry is the same everywhere."""


def normalise_inputs(x: Tensor) -> tuple[Tensor, Tensor]:
    """LN(x) [M, D] of inputs [M, D], in fp32 (fp64 where they are fp64), and which of them have
    none [M]: those that are flat or not finite."""
    wide = x.double() if x.dtype == torch.float64 else x.float()
    wide = wide - wide.mean(dim=1, keepdim=True)
    spread = wide.square().mean(dim=1, keepdim=True).sqrt()
    least = (
        FLAT_TOLERANCE
        * torch.finfo(wide.dtype).eps
        * x.abs().amax(dim=1, keepdim=True).to(wide.dtype)
    )
    return wide / spread, ~((spread > least) & spread.isfinite())[:, 0]
