"""The benchmarks' own package is found as when one of them is started; one thread, as elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
torch.set_num_threads(1)
