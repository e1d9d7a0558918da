"""Hypothesis strategies for training jobs, fixed jobs, and comparison of adapters."""

from __future__ import annotations

import random
from typing import Any

import torch
from hypothesis import strategies as st
from torch import nn

from idiolect.adapters.lora import LoraConfig, require_lora
from idiolect.adapters.protocol import Adapter
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.render import Example
from idiolect.training.engine.config import EngineConfig
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig

LORA = LoraConfig(rank=2, alpha=4.0, targets=("q_proj", "v_proj"))
TOKENS = 200


def make_exact_base() -> Base:
    """Make the tiny model in fp64 throughout; the norm of transformers would round to fp32
    inside."""
    base = make_tiny_base(dtype=torch.float64)
    model: Any = base.model
    for path, module in list(model.named_modules()):
        if type(module).__name__ == "LlamaRMSNorm":
            norm = nn.RMSNorm(module.weight.shape, module.variance_epsilon, dtype=torch.float64)
            norm.requires_grad_(False).weight.copy_(module.weight)
            model.set_submodule(path, norm)
    return base


@st.composite
def draw_example(draw: st.DrawFn) -> Example:
    """Draw a prompt of 3 to 24 tokens and an answer of 1 to 4; some have answer counts.

    Hypothesis chooses the lengths; a seeded generator draws distinct tokens. If a prompt repeated
    one token, attention would have nothing to choose from: the gradient of q_proj would be 0, and
    its rounding noise cannot be compared.
    """
    generator = random.Random(draw(st.integers(0, 10**6)))
    prompt = generator.sample(range(TOKENS), draw(st.integers(3, 24)))
    answer = generator.choices(range(TOKENS), k=draw(st.integers(1, 4)))
    counts = draw(st.one_of(st.just([]), st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    tally = zip(sorted(generator.sample(range(TOKENS), len(counts))), counts, strict=True)
    return Example((*prompt, *answer), len(prompt), tuple(tally))


@st.composite
def draw_jobs(draw: st.DrawFn, *, people: int = 4) -> tuple[TrainingJob, ...]:
    """Draw one to four people with one to six examples each."""
    histories = draw(
        st.lists(st.lists(draw_example(), min_size=1, max_size=6), min_size=1, max_size=people)
    )
    return tuple(TrainingJob(person=f"p{n}", examples=tuple(h)) for n, h in enumerate(histories))


engine_configs = st.builds(
    EngineConfig,
    slots=st.integers(1, 5),
    forward_tokens=st.sampled_from([1, 30, 90, 4000]),
)


def draw_train_configs(**options: Any) -> st.SearchStrategy[TrainConfig]:
    """Draw short trainings that differ in batch, epochs, seed and warmup."""
    return st.builds(
        lambda **drawn: TrainConfig(**drawn, **options),
        batch=st.integers(1, 4),
        epochs=st.integers(1, 2),
        seed=st.integers(0, 5),
        warmup=st.sampled_from([0.0, 0.3]),
    )


def make_jobs(people: int = 3, items: int = 5) -> tuple[TrainingJob, ...]:
    """Make fixed jobs: each person has more examples than the one before, of different lengths."""
    generator = torch.Generator().manual_seed(people * 100 + items)

    def draw_tokens(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(0, TOKENS, (count,), generator=generator).tolist())

    return tuple(
        TrainingJob(
            person=f"p{n}",
            examples=tuple(
                Example(draw_tokens(5 + (7 * n + 5 * i) % 19), 2 + (3 * i) % 2)
                for i in range(items + 2 * n)
            ),
        )
        for n in range(people)
    )


def relative_difference(one: Adapter, other: Adapter) -> float:
    """Return the largest ||B1 A1 - B2 A2|| / ||B2 A2|| over the modules (invariant 1)."""
    one, other = require_lora(one), require_lora(other)
    assert set(one.pairs) == set(other.pairs)
    out = 0.0
    for path, (a, b) in one.pairs.items():
        reference = other.pairs[path][1].double() @ other.pairs[path][0].double()
        difference = torch.linalg.norm(b.double() @ a.double() - reference)
        out = max(out, float(difference / torch.linalg.norm(reference)))
    return out


def bitwise_equal(one: Adapter, other: Adapter) -> bool:
    """Return whether two adapters are equal to the bit."""
    ours, theirs = one.tensors(), other.tensors()
    return set(ours) == set(theirs) and all(torch.equal(t, theirs[n]) for n, t in ours.items())
