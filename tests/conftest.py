"""Settings of all tests.

Hypothesis does not time its examples: machines under load are slow. One thread: the tiny models are
faster so, and a machine's cores are left to others.
"""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, settings

settings.register_profile("idiolect", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("idiolect")
torch.set_num_threads(1)
