"""The reference of private training: one person, one record at a time, in plain PyTorch.

Read this file before ``train_private.py``, which must give the same adapter from the same noise;
a test compares the two. The algorithm is DP-SGD (Abadi et al., 2016) on all records in each step,
in the coordinates of a basis that other people made (``adapters/arithmetic/directions.py``).

Shapes: ``K`` directions, ``P`` numbers of all B together, ``N`` target tokens of a record.
"""

from __future__ import annotations

import torch
from torch import Tensor

from idiolect.adapters.arithmetic.directions import AdapterBasis
from idiolect.adapters.hooks import ActiveLora, activate_loras, build_token_mask
from idiolect.adapters.lora import LoraAdapter
from idiolect.inference.nll import compute_target_nll
from idiolect.models.base import Base
from idiolect.prompts.batch import collate
from idiolect.prompts.render import Example
from idiolect.training.jobs import TrainingJob
from idiolect.training.private.config import PrivateConfig
from idiolect.training.private.noise import DrawNoise


def train_one_private(
    base: Base,
    job: TrainingJob,
    basis: AdapterBasis,
    config: PrivateConfig,
    multiplier: float,
    draw_noise: DrawNoise,
) -> LoraAdapter:
    """Train one person's adapter with record-level differential privacy.

    ``multiplier``: the standard deviation of a step's noise, in units of ``config.clip``.
    """
    # The starting point is the mean of other people's adapters.
    z_K = torch.zeros(basis.count, dtype=torch.float64)
    rate = config.compute_rate(len(job.examples))
    for _ in range(config.steps):
        # Adding or removing one record changes this sum by at most ``clip``.
        total_K = torch.zeros(basis.count, dtype=torch.float64)
        for example in job.examples:
            total_K += clip_norm(_compute_gradient(base, basis, z_K, example), config.clip)
        # Everything after the noise is post-processing: it can reveal nothing more.
        noisy_K = total_K + draw_noise(basis.count, multiplier * config.clip)
        z_K = z_K - rate * (noisy_K + config.prior * z_K)
    return basis.move_to(z_K)


def clip_norm(gradient: Tensor, clip: float) -> Tensor:
    """Return the gradient [K], shortened to the norm ``clip`` if it is longer.

    A gradient that is not finite becomes zero: an error would reveal something about the record.
    """
    if not torch.isfinite(gradient).all():
        return torch.zeros_like(gradient)
    norm = torch.linalg.vector_norm(gradient)
    return gradient * min(1.0, clip / float(norm)) if norm > 0 else gradient


def _compute_gradient(base: Base, basis: AdapterBasis, z_K: Tensor, example: Example) -> Tensor:
    """Return the gradient [K] of one record's mean loss per target token, in fp64."""
    adapter = basis.move_to(z_K)
    pairs = {
        path: (a.to(base.device), b.to(base.device).requires_grad_())
        for path, (a, b) in adapter.pairs.items()
    }
    batch = collate([example], pad=base.pad_token_id, device=base.device)
    active = build_token_mask(base, adapter.config, [example])
    with activate_loras(base.model, [ActiveLora(pairs, adapter.config.scale, active)]):
        loss = compute_target_nll(base.model, batch).mean()
    grads = torch.autograd.grad(loss, [b for _, b in pairs.values()])
    # The chain rule: B moves by direction i if coordinate i moves by 1.
    grad_P = torch.cat([grad.flatten() for grad in grads])
    return basis.directions.double() @ grad_P.cpu().double()
