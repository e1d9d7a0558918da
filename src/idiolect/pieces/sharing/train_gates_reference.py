"""Trains one sharer's gates: readable code, and the oracle for the batched engine.

One sharer, one torch optimizer, autograd. The adapter is frozen, and ``sigmoid(x.g)`` scales each
module's update.

Shapes: ``B`` rows, ``T`` tokens, ``D``/``O`` input and output widths of a module, ``R`` rank.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from idiolect.adapters.hooks import build_token_mask, forward_hooks
from idiolect.adapters.lora import LoraAdapter, require_lora
from idiolect.adapters.stacks.gates import GateVectors
from idiolect.errors import TrainingError
from idiolect.inference.nll import compute_target_nll
from idiolect.models.base import Base
from idiolect.prompts.batch import collate
from idiolect.training.jobs import TrainingJob, TrainingResult
from idiolect.training.schedule import TrainConfig, compute_learning_rate, plan_batches


def train_gates_of_one(
    base: Base, job: TrainingJob, config: TrainConfig
) -> TrainingResult[GateVectors]:
    """Train the gates of the job's adapter, starting from zero. Raises TrainingError if the loss
    is not finite.

    Source: Per-Pcs (arXiv 2406.10471), section 3.2; the loss is that of OPPU.
    """
    assert job.initial_adapter is not None and not job.holdout_examples
    adapter = require_lora(job.initial_adapter.check_matches_base(base))
    # One gate vector [D] per module is the only parameter.
    gates = {
        path: torch.zeros(a.shape[1], dtype=a.dtype, device=base.device, requires_grad=True)
        for path, (a, _) in adapter.pairs.items()
    }
    optimizer = torch.optim.AdamW(
        gates.values(),
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        weight_decay=config.weight_decay,
    )
    plan = plan_batches(len(job.examples), config, job.person)
    losses: list[float] = []
    for step, numbers in enumerate(plan):
        # The batches and learning rates are those of the engine, so that results match.
        optimizer.param_groups[0]["lr"] = compute_learning_rate(step, len(plan), config)
        chosen = [job.examples[n] for n in numbers]
        # One forward for all examples, or one for each if the base cannot run padded rows.
        terms: list[Tensor] = []
        for rows in [chosen] if base.ways.batched else [[example] for example in chosen]:
            batch = collate(rows, pad=base.pad_token_id, device=base.device)
            active = build_token_mask(base, adapter.config, rows)
            with attach_gated_lora(base, adapter, gates, active):
                terms.append((compute_target_nll(base.model, batch) * batch.count).sum())
        # Mean loss over target tokens, weighted by how often each counts.
        loss = torch.stack(terms).sum() / sum(example.num_targets for example in chosen)
        if not torch.isfinite(loss):
            raise TrainingError(f"{job.person}: the loss is {float(loss.detach())} at step {step}")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(gates.values(), config.clip)
        optimizer.step()
        losses.append(float(loss.detach()))
    return TrainingResult(
        person=job.person,
        adapter=GateVectors(
            config=adapter.config,
            base=base.identity,
            vectors={path: gate.detach().cpu() for path, gate in gates.items()},
        ),
        steps=len(plan),
        tokens=sum(len(job.examples[n].ids) for numbers in plan for n in numbers),
        first_loss=losses[0],
        last_loss=losses[-1],
    )


@contextmanager
def attach_gated_lora(
    base: Base, adapter: LoraAdapter, gates: Mapping[str, Tensor], active_BT1: Tensor | float = 1.0
) -> Iterator[None]:
    """Add ``scale * sigmoid(x.g) * B A x`` to module outputs while inside, at the ``active``
    tokens."""

    def make_hook(
        gate_D: Tensor, a_RD: Tensor, b_OR: Tensor
    ) -> Callable[[Any, Any, Tensor], Tensor]:
        a_RD, b_OR = a_RD.to(gate_D.device), b_OR.to(gate_D.device)

        def add_update(module: Any, inputs: tuple[Tensor, ...], output_BTO: Tensor) -> Tensor:
            (x_BTD,) = inputs
            # The gate: one scalar per token and module.
            opened_BT1 = torch.sigmoid(x_BTD @ gate_D.to(x_BTD.dtype))[..., None]
            update_BTO = (x_BTD @ a_RD.T.to(x_BTD.dtype)) @ b_OR.T.to(x_BTD.dtype)
            return output_BTO + adapter.config.scale * active_BT1 * opened_BT1 * update_BTO

        return add_update

    hooks = {path: make_hook(gates[path], *pair) for path, pair in adapter.pairs.items()}
    with forward_hooks(base.model, hooks):
        yield
