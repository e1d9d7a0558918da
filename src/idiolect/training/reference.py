"""Train one person's adapter: the obvious code, and the oracle that the batched engine must equal.

One person, one optimizer from torch, one plain LoRA; as PEFT and a hand-written loop would do it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from idiolect.adapters.hooks import activate_lora, build_token_mask
from idiolect.adapters.lora import LoraAdapter, LoraConfig, init_lora, require_lora
from idiolect.errors import TrainingError
from idiolect.inference.nll import compute_target_nll
from idiolect.models.base import Base
from idiolect.prompts.batch import collate
from idiolect.training.jobs import TrainingJob, TrainingResult
from idiolect.training.schedule import TrainConfig, compute_learning_rate, plan_batches


def train_one(
    base: Base, job: TrainingJob, lora: LoraConfig, config: TrainConfig
) -> TrainingResult[LoraAdapter]:
    """Train one person alone (no dropout). Raises TrainingError where the loss is not finite.

    Source: OPPU section 3.2; cross-entropy on target tokens, mean over the tokens of a batch.
    """
    assert lora.dropout == 0
    start = job.initial_adapter or init_lora(base, lora, seed=config.seed, person=job.person)
    start = require_lora(start.check_matches_base(base, lora))
    pairs = {
        path: (_make_leaf(a, base.device), _make_leaf(b, base.device))
        for path, (a, b) in start.pairs.items()
    }
    weights = [b for _, b in pairs.values()]
    if not lora.shared_a:
        weights += [a for a, _ in pairs.values()]
    optimizer = torch.optim.AdamW(
        weights,
        lr=config.rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        weight_decay=config.weight_decay,
    )
    plan = plan_batches(len(job.examples), config, job.person)
    losses: list[float] = []
    tails: list[float] = []
    best: list[Tensor] = []
    tokens = 0
    for step, numbers in enumerate(plan):
        optimizer.param_groups[0]["lr"] = compute_learning_rate(step, len(plan), config)
        chosen = [job.examples[n] for n in numbers]
        batch = collate(chosen, pad=base.pad_token_id, device=base.device)
        with activate_lora(base.model, pairs, lora.scale, build_token_mask(base, lora, chosen)):
            loss = (compute_target_nll(base.model, batch) * batch.count).sum() / batch.count.sum()
        if not torch.isfinite(loss):
            raise TrainingError(f"{job.person}: the loss is {float(loss.detach())} at step {step}")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, config.clip)
        optimizer.step()
        losses.append(float(loss.detach()))
        tokens += sum(len(e.ids) for e in chosen)
        if (
            config.patience
            and job.holdout_examples
            and (step + 1) % (len(plan) // config.epochs) == 0
        ):
            batch = collate(job.holdout_examples, pad=base.pad_token_id, device=base.device)
            with (
                torch.no_grad(),
                activate_lora(
                    base.model,
                    pairs,
                    lora.scale,
                    build_token_mask(base, lora, job.holdout_examples),
                ),
            ):
                nll = compute_target_nll(base.model, batch)
            tails.append(float((nll * batch.count).sum() / batch.count.sum()))
            if tails.index(min(tails)) == len(tails) - 1:
                best = [w.detach().clone() for pair in pairs.values() for w in pair]
            elif len(tails) - 1 - tails.index(min(tails)) >= config.patience:
                break
    if best:
        pairs = dict(zip(pairs, zip(best[::2], best[1::2], strict=True), strict=True))
    done = {path: (a.detach().cpu(), b.detach().cpu()) for path, (a, b) in pairs.items()}
    return TrainingResult(
        person=job.person,
        adapter=LoraAdapter(config=lora, base=base.identity, pairs=done),
        steps=len(losses),
        tokens=tokens,
        first_loss=losses[0],
        last_loss=losses[-1],
    )


def _make_leaf(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, copy=True).requires_grad_()
