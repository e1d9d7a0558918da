"""One thread: the tiny models are faster so, and a machine's cores are left to others."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
