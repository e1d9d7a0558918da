"""The reference training loop: one person, one plain LoRA, one optimizer from PyTorch.

Read this file before ``engine/train_many.py``. The engine trains many people at once and must give
each person the adapter that ``train_one`` gives; tests compare the two.

Shapes: ``R`` LoRA rank, ``D``/``O`` input and output width of a target module, ``N`` target tokens
of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from idiolect.adapters.hooks import ActiveLora, activate_loras, build_token_mask
from idiolect.adapters.lora import LoraAdapter, LoraConfig, init_lora, require_lora
from idiolect.adapters.row_groups import require_trainable_targets
from idiolect.errors import TrainingError
from idiolect.inference.nll import compute_target_nll
from idiolect.models.base import Base
from idiolect.prompts.batch import collate
from idiolect.prompts.render import Example
from idiolect.training.jobs import TrainingJob, TrainingResult
from idiolect.training.schedule import TrainConfig, compute_learning_rate, plan_batches


def train_one(
    base: Base, job: TrainingJob, lora: LoraConfig, config: TrainConfig
) -> TrainingResult[LoraAdapter]:
    """Train one person's LoRA adapter, without dropout.

    The loss of a step is the cross-entropy per target token, averaged over the batch (OPPU, section
    3.2). If ``config.patience`` is set and the job has holdout examples, the adapter of the best
    epoch is returned. Raises TrainingError if a loss is not finite.
    """
    assert lora.dropout == 0
    lora = lora.resolve_for(base.model)
    require_trainable_targets(base, lora)

    # Stage 1: the starting weights. Every target module gets a pair (A [R, D], B [O, R]). A fresh
    # adapter has a random A and B = 0, so the first forward equals the base model's.
    start = job.initial_adapter or init_lora(base, lora, seed=config.seed, person=job.person)
    start = require_lora(start.check_matches_base(base, lora))
    pairs = {
        path: (_make_leaf(a_RD, base.device), _make_leaf(b_OR, base.device))
        for path, (a_RD, b_OR) in start.pairs.items()
    }

    # Stage 2: the optimizer. It sees the LoRA weights only; the base model stays frozen. With
    # shared_a, all people have the same A, which is not trained.
    weights = [b_OR for _, b_OR in pairs.values()]
    if not lora.shared_a:
        weights += [a_RD for a_RD, _ in pairs.values()]
    optimizer = torch.optim.AdamW(
        weights,
        lr=config.rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        weight_decay=config.weight_decay,
    )

    # Stage 3: the training loop. The plan lists the example numbers of each step's batch.
    plan = plan_batches(len(job.examples), config, job.person)
    steps_per_epoch = len(plan) // config.epochs
    losses: list[float] = []
    holdout_losses: list[float] = []
    best_weights: list[Tensor] = []
    tokens = 0
    for step, numbers in enumerate(plan):
        optimizer.param_groups[0]["lr"] = compute_learning_rate(step, len(plan), config)
        batch = [job.examples[n] for n in numbers]
        loss = _compute_mean_loss(base, pairs, lora, batch)
        if not torch.isfinite(loss):
            raise TrainingError(f"{job.person}: the loss is {float(loss.detach())} at step {step}")
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, config.clip)
        optimizer.step()
        losses.append(float(loss.detach()))
        tokens += sum(len(example.ids) for example in batch)

        # Stage 4: early stopping. After each epoch, measure the loss on the holdout examples. Copy
        # the weights if it is the lowest so far; stop after `patience` epochs without a new low.
        if config.patience and job.holdout_examples and (step + 1) % steps_per_epoch == 0:
            with torch.no_grad():
                holdout_loss = _compute_mean_loss(base, pairs, lora, job.holdout_examples)
            holdout_losses.append(float(holdout_loss))
            best_epoch = holdout_losses.index(min(holdout_losses))
            epochs_since_best = len(holdout_losses) - 1 - best_epoch
            if epochs_since_best == 0:
                best_weights = [w.detach().clone() for pair in pairs.values() for w in pair]
            elif epochs_since_best >= config.patience:
                break

    # Stage 5: the result. `best_weights` alternates A and B, in the order of `pairs`.
    if best_weights:
        best_pairs = zip(best_weights[::2], best_weights[1::2], strict=True)
        pairs = dict(zip(pairs, best_pairs, strict=True))
    trained = {path: (a.detach().cpu(), b.detach().cpu()) for path, (a, b) in pairs.items()}
    return TrainingResult(
        person=job.person,
        adapter=LoraAdapter(config=lora, base=base.identity, pairs=trained),
        steps=len(losses),
        tokens=tokens,
        first_loss=losses[0],
        last_loss=losses[-1],
    )


def _compute_mean_loss(
    base: Base,
    pairs: Mapping[str, tuple[Tensor, Tensor]],
    lora: LoraConfig,
    examples: Sequence[Example],
) -> Tensor:
    """Compute the mean loss per target token in nats, as a scalar with its graph.

    A target token of a folded example (``fold_prompts.py``) counts more than once.
    """
    # One forward for all examples, or one for each if the base cannot run padded rows.
    forwards = [examples] if base.ways.batched else [[example] for example in examples]
    losses: list[Tensor] = []
    counts: list[Tensor] = []
    for rows in forwards:
        batch = collate(rows, pad=base.pad_token_id, device=base.device)
        # `active` is 1 at the tokens on which the adapter acts: all, or those of the answer.
        active = build_token_mask(base, lora, rows)
        with activate_loras(base.model, [ActiveLora(pairs, lora.scale, active)]):
            losses.append(compute_target_nll(base.model, batch))
        counts.append(batch.count)
    nll_N, count_N = torch.cat(losses), torch.cat(counts)
    return (nll_N * count_N).sum() / count_N.sum()


def _make_leaf(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to the device, as a leaf of the autograd graph."""
    return tensor.to(device, copy=True).requires_grad_()
