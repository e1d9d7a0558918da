"""The reference loop against PEFT, torch's AdamW and torch's scheduler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter, init_lora
from idiolect.prompts.render import Example
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig, compute_learning_rate, plan_batches
from support.job_strategies import LORA, draw_train_configs, make_exact_base, relative_difference

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def train_with_peft(start: LoraAdapter, job: TrainingJob, config: TrainConfig) -> LoraAdapter:
    """Train with PEFT as usual: a wrapped model, labels of -100, an optimizer, a scheduler, a
    loop."""
    base = make_exact_base()
    targets = list(start.config.targets)
    options = {"r": LORA.rank, "lora_alpha": int(LORA.alpha), "target_modules": targets}
    model: Any = peft.get_peft_model(base.model, peft.LoraConfig(**options))  # type: ignore[arg-type]
    weights: dict[str, tuple[Tensor, Tensor]] = {}
    for path, pair in start.pairs.items():
        layer = base.model.get_submodule(path)
        weights[path] = (layer.lora_A["default"].weight, layer.lora_B["default"].weight)
        for ours, theirs in zip(weights[path], pair, strict=True):
            ours.data.copy_(theirs)
    trainable = [w for w in model.parameters() if w.requires_grad]
    assert len(trainable) == 2 * len(weights)
    plan = plan_batches(len(job.examples), config, job.person)
    optimizer = torch.optim.AdamW(trainable, lr=config.rate, weight_decay=config.weight_decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: (
            compute_learning_rate(min(step, len(plan) - 1), len(plan), config) / config.rate
        ),
    )
    # One optimizer step per batch of the same plan; the labels mask prompt and padding.
    for numbers in plan:
        ids, mask, labels = pad_examples([job.examples[n] for n in numbers])
        logits = model(input_ids=ids, attention_mask=mask).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100
        )
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainable, config.clip)
        optimizer.step()
        scheduler.step()
    pairs = {path: (a.detach(), b.detach()) for path, (a, b) in weights.items()}
    return LoraAdapter(config=LORA, base=start.base, pairs=pairs)


def pad_examples(rows: Sequence[Example]) -> tuple[Tensor, Tensor, Tensor]:
    """Return ids, attention mask and labels [B, T]; labels of prompt and padding are -100."""
    shape = (len(rows), max(len(e.ids) for e in rows))
    ids, mask = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, -100)
    for i, e in enumerate(rows):
        ids[i, : len(e.ids)] = torch.tensor(e.ids)
        mask[i, : len(e.ids)] = 1
        labels[i, e.answer_start : len(e.ids)] = torch.tensor(e.ids[e.answer_start :])
    return ids, mask, labels


@settings(max_examples=20)
@given(
    lengths=st.lists(st.tuples(st.integers(3, 24), st.integers(1, 4)), min_size=1, max_size=9),
    config=draw_train_configs(),
    seed=st.integers(0, 1000),
)
def test_train_one_equals_peft_with_torch(
    lengths: list[tuple[int, int]], config: TrainConfig, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    examples = tuple(
        Example(tuple(torch.randperm(200, generator=generator)[: p + a].tolist()), p)
        for p, a in lengths
    )
    base, job = make_exact_base(), TrainingJob(person="p", examples=examples)
    ours = train_one(base, job, LORA, config)
    start = init_lora(base, LORA, seed=config.seed, person="p")
    theirs = train_with_peft(start, job, config)
    assert relative_difference(ours.adapter, theirs) <= 1e-10
    assert ours.adapter.num_bytes == theirs.num_bytes
    assert (ours.steps, ours.tokens) == (
        len(plan_batches(len(examples), config, "p")),
        config.epochs * sum(map(sum, lengths)),
    )
