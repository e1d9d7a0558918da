"""AdamW over a stack in which every slot has its own step count, rate, and clipping.

Works slot by slot on one row [P] each, so a slot's numbers cannot depend on its neighbours; the
equations are ``torch.optim.AdamW``'s (Loshchilov & Hutter, 2019) and ``clip_grad_norm_``'s.
"""

from __future__ import annotations

import math

import torch

from idiolect.adapters.stacks.base import TrainableStack
from idiolect.training.schedule import TrainConfig


class StackedAdamW:
    """The optimizer state of ``U`` slots: first and second moments [U, P] of what is trained, steps
    taken [U]."""

    def __init__(self, stack: TrainableStack[object], config: TrainConfig) -> None:
        assert stack.grads is not None
        self.config = config
        self.weights = stack.weights[:, stack.trainable_offset :]
        self.grads = stack.grads[:, stack.trainable_offset :]
        self.exp_avg = torch.zeros_like(self.weights)
        self.exp_avg_sq = torch.zeros_like(self.weights)
        self.step_counts = [0] * stack.num_slots

    def reset_slot(self, slot: int) -> None:
        """Forget a slot's past: what a newly seated person starts from."""
        self.exp_avg[slot].zero_()
        self.exp_avg_sq[slot].zero_()
        self.step_counts[slot] = 0

    @torch.no_grad()
    def step_slot(self, slot: int, rate: float) -> float:
        """Clip and apply one slot's gradients, no other's; gives their norm before clipping."""
        c = self.config
        weight, grad = self.weights[slot], self.grads[slot]
        first, second = self.exp_avg[slot], self.exp_avg_sq[slot]
        norm = float(torch.linalg.vector_norm(grad))
        grad.mul_(min(1.0, c.clip / (norm + 1e-6)))
        self.step_counts[slot] += 1
        taken = self.step_counts[slot]
        weight.mul_(1 - rate * c.weight_decay)
        first.lerp_(grad, 1 - c.beta1)
        second.mul_(c.beta2).addcmul_(grad, grad, value=1 - c.beta2)
        spread = second.sqrt().div_(math.sqrt(1 - c.beta2**taken)).add_(c.epsilon)
        weight.addcdiv_(first, spread, value=-rate / (1 - c.beta1**taken))
        return norm
