"""Gaussian noise from the operating system's random generator, which no seed reproduces.

A double holds only some real numbers, so noise on doubles reveals more than the theory says
(Mironov, 2012). As in Opacus' secure mode, each draw is the sum of four draws over two, after which
the known attack needs about 2^159 tries (Holohan and Braghin, 2021).
"""

from __future__ import annotations

import random
from collections.abc import Callable

import torch
from torch import Tensor

DrawNoise = Callable[[int, float], Tensor]
"""(number of values, standard deviation) -> independent normal draws, in fp64 on the CPU."""


def draw_secure_noise(count: int, deviation: float) -> Tensor:
    """Return ``count`` independent normal draws with this standard deviation, in fp64."""
    # SystemRandom reads the operating system's generator. A training draws a few hundred values.
    source = random.SystemRandom()
    draws = [sum(source.gauss(0.0, 1.0) for _ in range(4)) / 2 for _ in range(count)]
    return torch.tensor(draws, dtype=torch.float64) * deviation
