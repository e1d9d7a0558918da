"""Unlearning in memory on the tiny model: what is forgotten, what is retained, and invalid
calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from idiolect.adapters.lora import LoraAdapter
from idiolect.config import from_plain
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.prompt_sets.pairs import Pair
from idiolect.prompts.render import PromptRenderer
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig
from idiolect.unlearning.examples import tokenize_pairs
from idiolect.unlearning.methods.ga_mismatch import GradientAscentMismatch
from idiolect.unlearning.run import UnlearnConfig, UnlearnResult, compute_perplexity, unlearn
from support.tiny_people import to_tensor_bytes
from support.unlearning_sets import CONFIG, FORGET, RETAIN


def run_unlearning(base: Base, adapter: LoraAdapter | None = None, **changes: Any) -> UnlearnResult:
    return unlearn(base, adapter, FORGET, RETAIN, replace(CONFIG, **changes))


@pytest.fixture(scope="module")
def trained_adapter() -> LoraAdapter:
    """An adapter that knows the facts to forget and the sums to retain."""
    base = make_tiny_base()
    items = tokenize_pairs(PromptRenderer(base.tokenizer), [*FORGET, *RETAIN], answer_tokens=40)
    job = TrainingJob(person="ann", examples=tuple(item.example for item in items))
    return train_one(base, job, CONFIG.lora, TrainConfig(rate=0.02, steps=30, batch=6)).adapter


@pytest.mark.parametrize("method", ["sku", "task-vector", "ga", "npo", "ga-mismatch"])
def test_unlearn_forgets_adapter_within_retain_bound(
    method: str, trained_adapter: LoraAdapter
) -> None:
    """Forget answers become less likely within the bound on retain text; the base and the given
    adapter are not modified; equal runs give equal bytes."""
    base = make_tiny_base()
    before = to_tensor_bytes(trained_adapter)
    changes: dict[str, Any] = {
        "method": method,
        "train": replace(CONFIG.train, steps=8),
        "retain_bound": 1.1,
        "ga_mismatch": GradientAscentMismatch(
            ascent=0.5
        ),  # mismatched answers alone have too little effect in 8 steps
    }
    made = run_unlearning(base, trained_adapter, **changes)
    assert made.after.forget_perplexity > 1.01 * made.before.forget_perplexity
    assert made.after.retain_perplexity <= 1.1 * made.before.retain_perplexity
    assert made.base is base and to_tensor_bytes(trained_adapter) == before
    assert made.factor == (-made.scale if method in ("sku", "task-vector") else made.scale)
    again = run_unlearning(base, trained_adapter, **changes)
    assert (
        to_tensor_bytes(made.adapter) == to_tensor_bytes(again.adapter)
        and made.scale == again.scale
    )


def test_unlearn_measures_the_resulting_model() -> None:
    base = make_tiny_base()
    made = run_unlearning(base, scale=0.5, guard=100.0)
    prompter = PromptRenderer(base.tokenizer)
    examples = [item.example for item in tokenize_pairs(prompter, FORGET, answer_tokens=40)]
    after = compute_perplexity(made.base, made.adapter, examples)
    assert after == pytest.approx(made.after.forget_perplexity)
    assert compute_perplexity(base, None, examples) == pytest.approx(made.before.forget_perplexity)
    assert made.scale == 0.5 and made.factor == -0.5


def test_compute_perplexity_averages_over_tokens() -> None:
    """The mean is over tokens, not over examples."""
    base = make_tiny_base()
    items = tokenize_pairs(
        PromptRenderer(base.tokenizer), [*RETAIN[:1], *FORGET[:1]], answer_tokens=40
    )
    total, tokens = torch.zeros((), dtype=torch.float64), 0
    for item in items:
        ids = torch.tensor([item.example.ids])
        scores = torch.log_softmax(base.model(input_ids=ids).logits[0].double(), -1)
        start = item.example.answer_start
        targets = ids[0, start:]
        total -= scores[start - 1 : -1].gather(1, targets[:, None]).sum()
        tokens += len(targets)
    expected = float(torch.exp(total / tokens))
    found = compute_perplexity(base, None, [item.example for item in items])
    assert found == pytest.approx(expected, rel=1e-5)


def test_unlearn_with_full_parameters_returns_changed_base() -> None:
    base = make_tiny_base()
    train = replace(CONFIG.train, rate=2e-3)
    made = run_unlearning(base, parameters="full", train=train, method="task-vector")
    assert made.adapter is None and made.base is not base
    assert made.after.forget_perplexity > made.before.forget_perplexity
    assert made.after.retain_perplexity <= 1.05 * made.before.retain_perplexity


def test_unlearn_rejects_scale_that_breaks_the_model(trained_adapter: LoraAdapter) -> None:
    base = make_tiny_base()
    state = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    with pytest.raises(UsageError, match=r"scale 500 makes the retain perplexity .* guard is 1\.5"):
        run_unlearning(base, trained_adapter, scale=500.0)
    assert all(torch.equal(state[name], t) for name, t in base.model.state_dict().items())


def test_unlearn_does_not_train_on_held_out_pairs() -> None:
    """Half of the sums are held out: the trained delta does not depend on their answers."""
    base = make_tiny_base()
    config = replace(CONFIG, method="ft", held_out=0.5, scale=1.0, guard=1e9)
    one = unlearn(base, None, FORGET, RETAIN, config)
    from idiolect.prompt_sets.split import split_by_prompt

    measured, _ = split_by_prompt(RETAIN, 0.5, seed=0, purpose="held out")
    assert len(measured) == 3
    other = [
        Pair(prompt=p.prompt, response="Nobody knows.") if p in measured else p for p in RETAIN
    ]
    two = unlearn(base, None, FORGET, other, config)
    assert to_tensor_bytes(one.adapter) == to_tensor_bytes(two.adapter)
    assert one.before.retain_perplexity != two.before.retain_perplexity


def test_unlearn_rejects_empty_overlapping_and_single_prompt_sets() -> None:
    base = make_tiny_base()
    with pytest.raises(UsageError, match="the forget set is empty"):
        unlearn(base, None, (), RETAIN, CONFIG)
    with pytest.raises(UsageError, match="have prompts of the forget set"):
        unlearn(base, None, FORGET, FORGET[:1], CONFIG)
    with pytest.raises(UsageError, match="single prompt"):
        unlearn(base, None, FORGET, RETAIN[:1], CONFIG)


def test_effective_settings_contain_only_the_selected_method() -> None:
    config = replace(CONFIG, method="npo")
    plain = config.effective_settings
    assert plain["npo"] == {"beta": 0.1, "retain": 1.0} and "sku" not in plain
    assert from_plain(UnlearnConfig, plain) == config
