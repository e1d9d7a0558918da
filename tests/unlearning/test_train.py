"""Training, negating, merging, and concatenating deltas, on the tiny model."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch

from idiolect.adapters.hooks import ActiveLora, activate_loras, build_token_mask
from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.errors import TrainingError, UsageError
from idiolect.events import Event, Metrics
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.unlearning.examples import StepBatch
from idiolect.unlearning.methods.finetune import FineTune
from idiolect.unlearning.methods.protocol import LossModel, LossTerms
from idiolect.unlearning.methods.registry import METHOD_NAMES
from idiolect.unlearning.methods.sku import Sku
from idiolect.unlearning.methods.task_vector import TaskVector
from idiolect.unlearning.task_arithmetic import (
    apply_delta,
    concat_scaled,
    merge_delta,
    scale_adapter,
    signed_factor,
)
from idiolect.unlearning.train import train_on_sets
from idiolect.unlearning.trainee import WeightDelta
from support.tiny_people import random_adapter, to_tensor_bytes
from support.unlearning_sets import CONFIG, FORGET, LORA, render_sets

IDS = torch.arange(60, 90).view(2, 15)


def train_delta(base: Base, adapter: LoraAdapter | None = None, **changes: Any) -> Any:
    method = changes.pop("method", TaskVector())
    config = replace(CONFIG, **changes)
    return train_on_sets(base, adapter, render_sets(base, config), method, config)


def hash_weights(base: Base) -> str:
    sha = hashlib.sha256()
    for _, tensor in sorted(base.model.state_dict().items()):
        sha.update(tensor.numpy().tobytes())
    return sha.hexdigest()


@torch.no_grad()
def compute_logits(base: Base, adapter: LoraAdapter | None = None) -> torch.Tensor:
    if adapter is None:
        return base.model(input_ids=IDS).logits
    with stack_adapters(base, [adapter]).activate(torch.zeros(2, dtype=torch.long)):
        return base.model(input_ids=IDS).logits


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_train_on_sets_is_reproducible_for_every_method(name: str) -> None:
    """Equal seeds give equal bytes, another seed gives others; the base is not modified."""
    base = make_tiny_base()
    before, method = hash_weights(base), CONFIG.get_method(name)
    one, two = (train_delta(base, method=method) for _ in range(2))
    assert to_tensor_bytes(one.delta) == to_tensor_bytes(two.delta)
    other = train_delta(base, method=method, train=replace(CONFIG.train, seed=1))
    assert to_tensor_bytes(other.delta) != to_tensor_bytes(one.delta)
    assert one.steps == 4 and one.last_loss < one.first_loss
    assert hash_weights(base) == before


@dataclass(frozen=True)
class CountingFineTune(FineTune):
    """Records how many items of each set a step gets."""

    seen: list[tuple[int, int]]

    def iter_loss_terms(self, model: LossModel, batch: StepBatch) -> LossTerms:
        """As fine-tuning."""
        self.seen.append((len(batch.forget_examples), len(batch.retain_examples)))
        return super().iter_loss_terms(model, batch)


def test_train_on_sets_uses_configured_batch_sizes() -> None:
    method = CountingFineTune(seen=[])
    train_delta(
        make_tiny_base(), method=method, retain_batch=3, train=replace(CONFIG.train, batch=2)
    )
    assert method.seen[0] == (2, 3)


def test_sku_with_only_guided_distortion_equals_task_vector() -> None:
    base = make_tiny_base()
    sku = train_delta(base, method=Sku(e2=0, e3=0))
    assert to_tensor_bytes(sku.delta) == to_tensor_bytes(train_delta(base).delta)
    assert to_tensor_bytes(train_delta(base, method=Sku(e3=0)).delta) != to_tensor_bytes(sku.delta)


def test_train_on_sets_reports_loss_terms_of_each_step() -> None:
    events: list[Event] = []
    base = make_tiny_base()
    train_on_sets(base, None, render_sets(base), Sku(), CONFIG, listener=events.append)
    steps = [event.values for event in events if isinstance(event, Metrics)]
    assert [set(step) for step in steps] == [{"step", "loss", "guided", "random", "preserve"}] * 4
    parts = sum(float(steps[2][name]) for name in ("guided", "random", "preserve"))
    assert steps[2]["loss"] == pytest.approx(parts, rel=1e-5)


def test_train_on_sets_trains_all_weights_in_a_copy() -> None:
    base = make_tiny_base()
    before, rate = hash_weights(base), replace(CONFIG.train, rate=1e-3)
    one = train_delta(base, parameters="full", train=rate)
    assert isinstance(one.delta, WeightDelta) and hash_weights(base) == before
    assert set(one.delta.tensors) == {name for name, _ in base.model.named_parameters()}
    assert one.last_loss < one.first_loss
    two = train_delta(base, parameters="full", train=rate)
    assert all(torch.equal(one.delta.tensors[n], two.delta.tensors[n]) for n in one.delta.tensors)
    # Applying the delta changes each weight by factor times delta.
    unlearned, _ = apply_delta(base, None, one.delta, -2.0)
    for name, weight in unlearned.model.named_parameters():
        old = base.model.get_parameter(name)
        assert torch.allclose(weight, old - 2 * one.delta.tensors[name], atol=1e-7)
    assert unlearned.identity not in (base.identity, merge_delta(base, one.delta, 1.0).identity)
    with pytest.raises(UsageError, match="too coarse"):
        train_delta(make_tiny_base(dtype=torch.bfloat16), parameters="full")
    with pytest.raises(UsageError, match="an adapter can only be unlearned with a LoRA"):
        train_delta(base, random_adapter(base, 1), parameters="full")


def test_train_on_sets_raises_on_non_finite_loss() -> None:
    with pytest.raises(TrainingError, match=r"task vector: the loss is nan at step \d; lower"):
        train_delta(make_tiny_base(), train=replace(CONFIG.train, rate=1e30))


def test_unlearn_config_rejects_invalid_values() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"answer_tokens": 0}, "answer_tokens"),
        ({"retain_batch": 0}, "retain_batch"),
        ({"lora": replace(LORA, dropout=0.1)}, "dropout"),
        ({"train": replace(CONFIG.train, steps=None, patience=1)}, "patience"),
        ({"scale": -1.0}, "scale"),
        ({"retain_bound": 0.9}, "retain_bound"),
        ({"guard": float("nan")}, "guard"),
        ({"held_out": 1.0}, "held_out"),
        ({"method": "none"}, "unknown method"),
    ]
    for changes, message in wrong:
        with pytest.raises(UsageError, match=message):
            replace(CONFIG, **changes)


def test_apply_delta_on_base_equals_merging_negative_delta() -> None:
    base = make_tiny_base()
    delta = train_delta(base).delta
    _, adapter = apply_delta(base, None, delta, -3.0)
    inside = merge_delta(base, delta, -3.0)
    assert torch.allclose(compute_logits(base, adapter), compute_logits(inside), atol=1e-4)
    path = "model.layers.0.self_attn.q_proj"
    a, b = delta.pairs[path]
    expected = base.model.get_submodule(path).weight - 3 * LORA.scale * (b @ a)
    assert torch.allclose(inside.model.get_submodule(path).weight, expected, atol=1e-6)
    assert inside.folder is None and inside.identity != base.identity
    assert signed_factor(Sku(), 2.0) == -2.0 and signed_factor(CONFIG.get_method("npo"), 2.0) == 2.0


def test_concat_scaled_adds_updates_exactly() -> None:
    """The update is the sum of both updates, unlike the product of subtracted factors."""
    base = make_tiny_base()
    personal = random_adapter(base, 1, replace(LORA, alpha=6.0))
    frozen = to_tensor_bytes(personal)
    delta = train_delta(base, personal).delta
    assert to_tensor_bytes(personal) == frozen and to_tensor_bytes(delta) != to_tensor_bytes(
        train_delta(base).delta
    )
    unlearned = concat_scaled(personal, delta, -2.0).check_matches_base(base)
    assert unlearned.config.rank == 8 == unlearned.config.alpha
    for path, (a, b) in unlearned.pairs.items():
        (pa, pb), (da, db) = personal.pairs[path], delta.pairs[path]
        expected = 3 * (pb @ pa) - 2 * 2 * (db @ da)
        assert torch.allclose(b @ a, expected, atol=1e-5)
        assert not torch.allclose((pb - 2 * db) @ (pa - 2 * da), expected, atol=1e-3)
    assert torch.equal(
        compute_logits(*apply_delta(base, personal, delta, -2.0)), compute_logits(base, unlearned)
    )
    kept = concat_scaled(personal, scale_adapter(delta, 0.0), 1.0)
    assert torch.allclose(compute_logits(base, kept), compute_logits(base, personal), atol=1e-5)


@pytest.mark.parametrize(
    "theirs", [replace(LORA, active="answer"), replace(LORA, top_layers=1, targets=("k_proj",))]
)
def test_train_on_sets_uses_active_tokens_and_layers_of_adapter(theirs: LoraConfig) -> None:
    base = make_tiny_base()
    personal = random_adapter(base, 1, theirs)
    delta = train_delta(base, personal).delta
    unlearned = concat_scaled(personal, delta, -1.0).check_matches_base(base)
    for config in (delta.config, unlearned.config):
        assert (config.active, config.top_layers) == (theirs.active, theirs.top_layers)
    assert set(unlearned.config.targets) == {
        *theirs.resolve_for(base.model).targets,
        *LORA.resolve_for(base.model).targets,
    }


def test_model_losses_include_personal_adapter() -> None:
    """Before the first step, the loss is that of the base with the adapter on its active tokens."""
    base = make_tiny_base()
    personal = random_adapter(base, 1, replace(LORA, active="answer"))
    from idiolect.inference.nll import compute_target_nll
    from idiolect.prompts.batch import collate
    from idiolect.prompts.render import PromptRenderer
    from idiolect.unlearning.examples import tokenize_pairs
    from idiolect.unlearning.trainee import LoraModel, ModelLosses

    (item,) = tokenize_pairs(PromptRenderer(base.tokenizer), FORGET[:1], answer_tokens=40)
    examples = [item.example]
    losses = ModelLosses(base, LoraModel(base, personal, replace(LORA, active="answer"), seed=0))
    batch = collate(examples, pad=base.pad_token_id, device=base.device)
    active = build_token_mask(base, personal.config, examples)
    with (
        torch.no_grad(),
        activate_loras(base.model, [ActiveLora(personal.pairs, personal.config.scale, active)]),
    ):
        expected = float(compute_target_nll(base.model, batch).mean())
    assert losses.compute_nll(examples).tolist() == pytest.approx([expected], rel=1e-5)
    assert losses.compute_initial_nll(examples).tolist() == pytest.approx([expected], rel=1e-5)
