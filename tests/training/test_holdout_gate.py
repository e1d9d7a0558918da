"""The holdout gate: the number of held-out items, and the losses that are compared."""

from __future__ import annotations

import pytest
import torch

from idiolect.adapters.lora import LoraAdapter, merge_weight
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.render import Example
from idiolect.training.holdout_gate import GateConfig, compute_mean_losses
from support.job_strategies import make_jobs
from support.tiny_people import random_adapter


@torch.no_grad()
def compute_loss_alone(adapter: LoraAdapter | None, examples: tuple[Example, ...]) -> float:
    """Compute the loss of one example at a time, with merged weights and logits of all
    positions."""
    model = make_tiny_base().model
    for path, (a, b) in (adapter.pairs if adapter else {}).items():
        weight = model.get_submodule(path).weight
        scale = adapter.config.scale if adapter else 1.0
        weight.copy_(merge_weight(weight, a, b, scale))
    losses: list[float] = []
    for example in examples:
        logits = model(input_ids=torch.tensor([example.ids])).logits[0]
        chances = torch.log_softmax(logits.double(), dim=-1)
        for place in range(example.answer_start, len(example.ids)):
            losses.append(-float(chances[place - 1, example.ids[place]]))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("forward_tokens", [1, 60, 9999])
def test_compute_mean_losses_equals_each_person_alone(forward_tokens: int) -> None:
    base: Base = make_tiny_base()
    examples = {job.person: job.examples for job in make_jobs(4, 3)}
    adapters = {"p0": random_adapter(base, 1), "p2": random_adapter(base, 2)}
    for given in ({}, adapters):
        found = compute_mean_losses(base, examples, given, forward_tokens=forward_tokens)
        assert list(found) == list(examples)
        for person, theirs in examples.items():
            assert found[person] == pytest.approx(
                compute_loss_alone(given.get(person), theirs), abs=1e-4
            )
    without = compute_mean_losses(base, examples, {}, forward_tokens=forward_tokens)
    having = compute_mean_losses(base, examples, adapters, forward_tokens=forward_tokens)
    assert abs(without["p0"] - having["p0"]) > 0.01
    assert without["p1"] == pytest.approx(having["p1"], abs=1e-5)


@pytest.mark.parametrize(
    ("items", "tail"), [(0, 0), (2, 0), (3, 1), (8, 2), (9, 3), (30, 3), (50, 5), (400, 40)]
)
def test_count_holdout_is_a_tenth_at_least_three_at_most_a_third(items: int, tail: int) -> None:
    assert GateConfig().count_holdout(items) == tail
    assert GateConfig(on=False).count_holdout(items) == 0


def test_gate_config_refuses_share_outside_zero_and_one() -> None:
    for share in (0.0, 1.0, -0.5):
        with pytest.raises(UsageError, match=r"gate\.share"):
            GateConfig(share=share)
