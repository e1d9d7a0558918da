"""The oracle itself against PEFT, torch's AdamW and torch's schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import peft
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from idiolect.adapters.lora import LoraAdapter, fresh
from idiolect.prompts.render import Example
from idiolect.training.jobs import Job
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig, batches, rate_at
from support.job_strategies import LORA, apart, exact_base, settings_of

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def trained_by_peft(start: LoraAdapter, job: Job, config: TrainConfig) -> LoraAdapter:
    """The usual way: a wrapped model, labels of -100, an optimizer, a scheduler, a loop."""
    base = exact_base()
    options = {"r": LORA.rank, "lora_alpha": int(LORA.alpha), "target_modules": list(LORA.targets)}
    model: Any = peft.get_peft_model(base.model, peft.LoraConfig(**options))  # type: ignore[arg-type]
    weights: dict[str, tuple[Tensor, Tensor]] = {}
    for path, pair in start.pairs.items():
        layer = base.model.get_submodule(path)
        weights[path] = (layer.lora_A["default"].weight, layer.lora_B["default"].weight)
        for ours, theirs in zip(weights[path], pair, strict=True):
            ours.data.copy_(theirs)
    trainable = [w for w in model.parameters() if w.requires_grad]
    assert len(trainable) == 2 * len(weights)
    plan = batches(len(job.examples), config, job.person)
    optimizer = torch.optim.AdamW(trainable, lr=config.rate, weight_decay=config.weight_decay)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: rate_at(min(step, len(plan) - 1), len(plan), config) / config.rate
    )
    for numbers in plan:
        ids, mask, labels = padded([job.examples[n] for n in numbers])
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


def padded(rows: Sequence[Example]) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, attention mask and labels [B, T], the prompt and padding masked out of the labels."""
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
    config=settings_of(),
    seed=st.integers(0, 1000),
)
def test_one_person_equals_peft_with_torch(
    lengths: list[tuple[int, int]], config: TrainConfig, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    examples = tuple(
        Example(tuple(torch.randperm(200, generator=generator)[: p + a].tolist()), p)
        for p, a in lengths
    )
    base, job = exact_base(), Job(person="p", examples=examples)
    ours = train_one(base, job, LORA, config)
    start = fresh(base, LORA, seed=config.seed, person="p")
    theirs = trained_by_peft(start, job, config)
    assert apart(ours.adapter, theirs) <= 1e-10
    assert ours.adapter.bytes == theirs.bytes
    assert (ours.steps, ours.tokens) == (
        len(batches(len(examples), config, "p")),
        config.epochs * sum(map(sum, lengths)),
    )
