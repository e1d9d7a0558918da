"""AdamW over a stack in which each slot has its own step count, learning rate and clipping.

Works slot by slot on one row [P], so a slot's parameters cannot depend on other slots. The
equations are those of ``torch.optim.AdamW`` (Loshchilov & Hutter, 2019) and ``clip_grad_norm_``.

Shapes: ``U`` slots, ``P`` trained parameters of a slot.
"""

from __future__ import annotations

import math

import torch

from idiolect.adapters.stacks.base import TrainableStack
from idiolect.training.schedule import TrainConfig


class StackedAdamW:
    """AdamW with separate state for each slot: moments [U, P] and the number of steps steps [U]."""

    def __init__(self, stack: TrainableStack[object], config: TrainConfig) -> None:
        assert stack.grads is not None
        self.config = config
        self.weights = stack.weights[:, stack.trainable_offset :]
        self.grads = stack.grads[:, stack.trainable_offset :]
        self.exp_avg = torch.zeros_like(self.weights)
        self.exp_avg_sq = torch.zeros_like(self.weights)
        self.step_counts = [0] * stack.num_slots

    def reset_slot(self, slot: int) -> None:
        """Clear a slot's state for a new person."""
        self.exp_avg[slot].zero_()
        self.exp_avg_sq[slot].zero_()
        self.step_counts[slot] = 0

    @torch.no_grad()
    def step_slot(self, slot: int, rate: float) -> float:
        """Clip one slot's gradients and apply them. Returns the gradient norm before clipping."""
        c = self.config
        weight_P, grad_P = self.weights[slot], self.grads[slot]
        exp_avg_P, exp_avg_sq_P = self.exp_avg[slot], self.exp_avg_sq[slot]
        # Clip as clip_grad_norm_ does, over this slot's gradients alone.
        norm = float(torch.linalg.vector_norm(grad_P))
        grad_P.mul_(min(1.0, c.clip / (norm + 1e-6)))
        self.step_counts[slot] += 1
        steps = self.step_counts[slot]
        # Decoupled weight decay, then the moments, then the update with bias correction.
        weight_P.mul_(1 - rate * c.weight_decay)
        exp_avg_P.lerp_(grad_P, 1 - c.beta1)
        exp_avg_sq_P.mul_(c.beta2).addcmul_(grad_P, grad_P, value=1 - c.beta2)
        denominator_P = exp_avg_sq_P.sqrt().div_(math.sqrt(1 - c.beta2**steps)).add_(c.epsilon)
        weight_P.addcdiv_(exp_avg_P, denominator_P, value=-rate / (1 - c.beta1**steps))
        return norm
