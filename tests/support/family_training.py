"""The plain way to train, load and answer: PEFT and torch around an untouched model of
transformers, one row at a time, without padding and without a mask.

This project's code takes no part in it, except for the schedule and the first weights, which say
what is computed and not how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import peft
import torch
from torch import Tensor
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
)

from idiolect.adapters.lora import LoraAdapter
from idiolect.prompts.render import Example
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig, compute_learning_rate, plan_batches

Pairs = Mapping[str, tuple[Tensor, Tensor]]
"""A and B by module path."""

TRAIN = TrainConfig(batch=4, epochs=2, rate=3e-2, epsilon=1e-2)
"""With the usual epsilon of 1e-8, AdamW would enlarge the rounding of vanishing gradients. The rate
is high, so that a few steps change the answers."""


def make_alike_jobs(call: Sequence[int]) -> tuple[TrainingJob, ...]:
    """Make three people whose prompts all begin with the same tokens and end with ``call``, the
    tokens that open an answer; all else differs, and so do the lengths."""
    draw = torch.Generator().manual_seed(0)

    def draw_tokens(count: int) -> list[int]:
        return torch.randint(0, 250, (count,), generator=draw).tolist()

    first = draw_tokens(12)
    jobs: list[TrainingJob] = []
    for n in range(3):
        prompts = [[*first, *draw_tokens(1 + (5 * n + 3 * i) % 7), *call] for i in range(3 + n)]
        examples = tuple(
            Example((*prompt, *draw_tokens(2 + i % 2)), len(prompt))
            for i, prompt in enumerate(prompts)
        )
        jobs.append(TrainingJob(person=f"p{n}", examples=examples))
    return tuple(jobs)


def load_plain_model(folder: Path) -> Any:
    """Load a folder as users of PEFT do, with the default attention, in float32."""
    kind: Any = AutoModelForCausalLM
    if type(AutoConfig.from_pretrained(folder)) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        kind = AutoModelForImageTextToText
    return kind.from_pretrained(folder, dtype=torch.float32).requires_grad_(False).eval()


def train_plainly(
    model: Any, start: LoraAdapter, job: TrainingJob, config: TrainConfig = TRAIN
) -> Pairs:
    """Train one person with PEFT and torch's AdamW; the model is as before when this returns.

    Each row runs alone; the gradients of a batch add up.
    """
    options: dict[str, Any] = {
        "r": start.config.rank,
        "lora_alpha": int(start.config.alpha),
        "target_modules": list(start.pairs),
    }
    wrapped: Any = peft.get_peft_model(model, peft.LoraConfig(**options))
    weights: dict[str, tuple[Tensor, Tensor]] = {}
    for path, pair in start.pairs.items():
        layer = model.get_submodule(path)
        weights[path] = (layer.lora_A["default"].weight, layer.lora_B["default"].weight)
        for ours, theirs in zip(weights[path], pair, strict=True):
            ours.data.copy_(theirs)
    trained = [weight for weight in wrapped.parameters() if weight.requires_grad]
    assert len(trained) == 2 * len(weights)
    optimizer = torch.optim.AdamW(trained, eps=config.epsilon, weight_decay=config.weight_decay)
    plan = plan_batches(len(job.examples), config, job.person)
    for step, numbers in enumerate(plan):
        optimizer.param_groups[0]["lr"] = compute_learning_rate(step, len(plan), config)
        optimizer.zero_grad()
        chosen = [job.examples[n] for n in numbers]
        for one in chosen:
            logits = wrapped(input_ids=torch.tensor([one.ids]), use_cache=False).logits[0]
            loss = torch.nn.functional.cross_entropy(
                logits[one.answer_start - 1 : -1],
                torch.tensor(one.ids[one.answer_start :]),
                reduction="sum",
            )
            (loss / sum(each.num_targets for each in chosen)).backward()
        torch.nn.utils.clip_grad_norm_(trained, config.clip)
        optimizer.step()
    found = {path: (a.detach().clone(), b.detach().clone()) for path, (a, b) in weights.items()}
    wrapped.unload()
    return found


def measure_difference(one: Pairs, other: Pairs) -> float:
    """Return the largest ||B1 A1 - B2 A2|| / ||B2 A2|| over the modules; a module that no gradient
    reaches must have B = 0 in both."""
    assert set(one) == set(other)
    out = 0.0
    for path, (a, b) in one.items():
        reference = other[path][1].double() @ other[path][0].double()
        difference = torch.linalg.norm(b.double() @ a.double() - reference)
        scale = torch.linalg.norm(reference)
        out = max(out, float(difference / scale) if scale else float(difference > 0))
    return out


@torch.no_grad()
def answer_plainly(model: Any, prompt: Sequence[int], *, max_tokens: int, pad: int) -> list[int]:
    """Return the tokens that ``generate`` of transformers gives for one prompt."""
    ids = torch.tensor([list(prompt)])
    output = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=max_tokens,
        do_sample=False,
        pad_token_id=pad,
    )
    return output[0, len(prompt) :].tolist()
