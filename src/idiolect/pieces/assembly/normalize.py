"""Layer-normalizes module inputs before they are scored against gates.

Shapes: ``M`` positions that predict answer tokens, ``D`` width of the module's input.
"""

from __future__ import annotations

import torch
from torch import Tensor

FLAT_TOLERANCE = 8
"""An input is flat if its spread is at most this number of rounding steps of its largest entry."""


def normalize_inputs(x_MD: Tensor) -> tuple[Tensor, Tensor]:
    """Return LN(x) [M, D] without eps of inputs [M, D], and a mask [M] of rows that are flat or
    not finite.

    Computes in fp32, or in fp64 for fp64 inputs.
    """
    wide_MD = x_MD.double() if x_MD.dtype == torch.float64 else x_MD.float()
    wide_MD = wide_MD - wide_MD.mean(dim=1, keepdim=True)
    spread_M1 = wide_MD.square().mean(dim=1, keepdim=True).sqrt()
    # A spread within a few rounding steps of the largest entry is noise; dividing by it would
    # turn noise into a direction.
    least_M1 = (
        FLAT_TOLERANCE
        * torch.finfo(wide_MD.dtype).eps
        * x_MD.abs().amax(dim=1, keepdim=True).to(wide_MD.dtype)
    )
    return wide_MD / spread_M1, ~((spread_M1 > least_M1) & spread_M1.isfinite())[:, 0]
