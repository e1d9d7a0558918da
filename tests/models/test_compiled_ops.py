"""Compiled modules give the same numbers, forward and backward, and unknown ones stay as they
are."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    Gemma2Config,
    GPTNeoXConfig,
    LlamaConfig,
    OPTConfig,
    Phi3Config,
    Qwen3Config,
)
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from idiolect.errors import UsageError
from idiolect.models import compiled_ops
from idiolect.models.compiled_ops import ROPE_FUNCTION, compile_elementwise
from idiolect.models.structure import find_decoder
from idiolect.models.tiny import make_tiny_base
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.train_many import train_many
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig
from support.job_strategies import LORA, make_jobs, relative_difference
from support.model_families import SIZES

QUICK = "aot_eager"
"""A backend that traces with its own backward but runs in eager torch, so it needs no C++
compiler."""
# The number of parts of two layers that are replaced: norms, gates, rotation.
KINDS: list[tuple[Any, int]] = [
    (LlamaConfig(**SIZES), 5 + 2 + 1),
    (Qwen3Config(**SIZES, head_dim=8), 5 + 4 + 2 + 1),
    (Gemma2Config(**SIZES, head_dim=8), 1),
    (Phi3Config(**SIZES), 5 + 1),
    (GPTNeoXConfig(**SIZES), 1),
    (OPTConfig(vocab_size=258, hidden_size=32, ffn_dim=48, num_attention_heads=4), 0),
]
pytestmark = pytest.mark.filterwarnings(
    # Dynamo reads the gradient of every input.
    "ignore:The .grad attribute of a Tensor that is not a leaf Tensor:UserWarning"
)


def make_model(config: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for name, weight in model.named_parameters():
            # Weights other than 1 show whether a norm applies them as expected.
            if "norm" in name:
                nn.init.uniform_(weight, 0.5, 1.5)
    return model.requires_grad_(False).eval()


def run_forward_and_backward(model: Any) -> tuple[Tensor, Tensor]:
    """Return the hidden states, and the gradient of the input embeddings."""
    ids = torch.arange(12).view(2, 6)
    decoder = find_decoder(model)
    entered = model.get_input_embeddings()(ids).detach().requires_grad_()
    hidden = decoder(inputs_embeds=entered, use_cache=False).last_hidden_state
    (hidden * torch.arange(hidden.numel()).view(hidden.shape).cos()).sum().backward()
    assert entered.grad is not None
    return hidden.detach(), entered.grad


@pytest.mark.parametrize(("config", "parts"), KINDS, ids=lambda v: getattr(v, "model_type", ""))
def test_compile_elementwise_keeps_numbers_and_unknown_parts(config: Any, parts: int) -> None:
    model = make_model(config)
    plain = run_forward_and_backward(model)
    with compile_elementwise(model, backend=QUICK) as count:
        assert count == parts
        ours = run_forward_and_backward(model)
    for one, other in zip(ours, plain, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def test_compile_elementwise_restores_model_after_error() -> None:
    base = make_tiny_base()
    family = sys.modules[type(find_decoder(base.model)).__module__]
    theirs = getattr(family, ROPE_FUNCTION)

    def fail() -> None:
        with compile_elementwise(base.model, backend=QUICK):
            assert getattr(family, ROPE_FUNCTION) is not theirs
            with compile_elementwise(base.model, backend=QUICK) as again:
                assert again == 0
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert getattr(family, ROPE_FUNCTION) is theirs
    assert all("forward" not in vars(m) for m in base.model.modules())


def test_compile_elementwise_keeps_inner_hooks() -> None:
    base = make_tiny_base()
    module = base.model.get_submodule("model.layers.0.mlp.up_proj")
    seen: list[int] = []
    with compile_elementwise(base.model, backend=QUICK):
        handle = module.register_forward_hook(lambda *_: seen.append(1))
        base.model(input_ids=torch.tensor([[1, 2, 3]]))
        handle.remove()
    assert seen == [1]


def test_compile_elementwise_reports_missing_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> Any:
        raise RuntimeError("no g++ here\nand more")

    # The check runs once per process.
    compiled_ops._require_compiler.cache_clear()
    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(UsageError, match=r"engine\.compile.*no g\+\+ here"):
        train_many(make_tiny_base(), make_jobs(), LORA, TrainConfig(), EngineConfig(compile=True))
    compiled_ops._compile_cached.cache_clear()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what inductor imports
def test_train_many_compiled_equals_reference() -> None:
    """With the real compiler."""
    base, work, config = (
        make_tiny_base(),
        make_jobs(),
        TrainConfig(rate=5e-3, epochs=2, epsilon=1e-2),
    )
    found = train_many(base, work, LORA, config, EngineConfig(compile=True))
    for job, trained in zip(work, found, strict=True):
        assert (
            relative_difference(trained.adapter, train_one(base, job, LORA, config).adapter) <= 1e-5
        )
