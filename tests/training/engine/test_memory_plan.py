"""The engine's sizes: from the settings, and from free memory on GPUs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config

from idiolect.adapters.lora import LoraConfig, init_lora
from idiolect.adapters.stacks.lora import LoraStack
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.models.structure import find_decoder
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.render import Example
from idiolect.training.engine import memory_plan
from idiolect.training.engine.config import MIN_FORWARD_TOKENS, EngineConfig
from idiolect.training.engine.memory_plan import (
    MAX_FORWARD_TOKENS,
    activation_bytes,
    attention_score_bytes,
    choose_forward_tokens,
    choose_slots,
    uses_packing,
)
from idiolect.training.engine.packed_layout import PackedLayout
from idiolect.training.engine.padded_layout import BatchRow
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig
from support.job_strategies import LORA, make_jobs
from support.odd_families import make_family_base

JOBS = make_jobs()


def pretend_cuda(base: Base) -> Any:
    """Return a stand-in for the base that reports a CUDA device."""
    return SimpleNamespace(
        model=base.model,
        name=base.name,
        dtype=base.dtype,
        device=torch.device("cuda"),
        ways=base.ways,
    )


def set_free_bytes(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    """Make the engine see this number of free bytes."""
    monkeypatch.setattr(memory_plan, "get_free_bytes", lambda device: free)


def test_choose_forward_tokens_on_cpu_ignores_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    set_free_bytes(monkeypatch, 1e15)
    assert (
        choose_forward_tokens(make_tiny_base(), JOBS, LORA, EngineConfig())
        == MIN_FORWARD_TOKENS
        == 1024
    )


@pytest.mark.parametrize(
    "base", [make_tiny_base(), pretend_cuda(make_tiny_base())], ids=["cpu", "cuda"]
)
def test_choose_forward_tokens_keeps_configured_value(base: Any) -> None:
    assert choose_forward_tokens(base, JOBS, LORA, EngineConfig(forward_tokens=77)) == 77


def test_choose_forward_tokens_on_cuda_fills_half_of_free_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The result is a power of two, so a small change of free memory changes nothing."""
    base = pretend_cuda(make_tiny_base())
    each = activation_bytes(base)

    def choose_tokens(free: float) -> int:
        set_free_bytes(monkeypatch, free)
        return choose_forward_tokens(base, JOBS, LORA, EngineConfig())

    assert choose_tokens(0) == MIN_FORWARD_TOKENS
    assert choose_tokens(2 * 4096 * each - 1) == 2048
    assert choose_tokens(2 * 4096 * each) == choose_tokens(2 * 8191 * each) == 4096
    assert choose_tokens(1e15) == MAX_FORWARD_TOKENS


def test_choose_forward_tokens_counts_attention_of_long_padded_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = pretend_cuda(make_tiny_base())
    set_free_bytes(monkeypatch, 2 * 4096 * activation_bytes(base))
    long = TrainingJob(person="p", examples=(Example(tuple(range(250)) * 8, 5),))
    for engine, lora in (
        (EngineConfig(layout="rows"), LORA),
        (EngineConfig(), LoraConfig(active="answer")),
    ):
        some, few = (
            choose_forward_tokens(base, jobs, lora, engine) for jobs in (JOBS, [*JOBS, long])
        )
        assert MIN_FORWARD_TOKENS == few < some < 4096
    assert attention_score_bytes(base, 200) == 2 * attention_score_bytes(base, 100)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_activation_bytes_estimates_memory_of_autograd(dtype: torch.dtype) -> None:
    """Measured on rows of two tokens, whose attention keeps almost nothing."""
    base, lora = make_tiny_base(dtype=dtype), LoraConfig()
    stack = LoraStack(base, lora, 1).train()
    stack.load_slot(0, init_lora(base, lora, seed=0, person="p"))
    tokens = 400
    rows = [BatchRow(0, Example((n % 200, 1, 2), 2), 0) for n in range(tokens // 2)]
    weights = {w.untyped_storage().data_ptr() for w in base.model.parameters()}
    # Count each storage once that autograd saves, without the weights.
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        scored = list(PackedLayout(base, stack, forward_tokens=tokens).iter_forwards(rows))
    assert len(scored) == 1
    found = sum(kept.values()) / tokens
    assert 0.7 < activation_bytes(base) / found < 1.4


def test_choose_slots_grows_with_forward_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    set_free_bytes(monkeypatch, 1e15)
    work = [TrainingJob(person=str(n), examples=JOBS[0].examples[:1]) for n in range(600)]

    def count_slots(tokens: int) -> int:
        engine = EngineConfig(forward_tokens=tokens)
        return choose_slots(make_tiny_base(), work, LORA, TrainConfig(), engine, None)

    assert count_slots(1024) == 64 and count_slots(4096) == 256 and count_slots(65536) == 600


def test_uses_packing_is_automatic_on_cuda() -> None:
    assert uses_packing(pretend_cuda(make_tiny_base()), LORA, EngineConfig())
    assert not uses_packing(pretend_cuda(make_tiny_base()), LORA, EngineConfig(layout="rows"))
    assert not uses_packing(
        pretend_cuda(make_tiny_base()), LoraConfig(active="answer"), EngineConfig()
    )
    assert not uses_packing(pretend_cuda(make_tiny_base()), LoraConfig(dropout=0.1), EngineConfig())
    assert not uses_packing(
        pretend_cuda(make_tiny_base()), LoraConfig(top_layers=1), EngineConfig()
    )
    assert not uses_packing(make_tiny_base(), LORA, EngineConfig())


def test_scoring_tokens_ignores_free_memory() -> None:
    assert EngineConfig().scoring_tokens == MIN_FORWARD_TOKENS
    assert EngineConfig(forward_tokens=5).scoring_tokens == 5


def test_engine_config_refuses_unknown_layout() -> None:
    wrong: Any = "columns"
    with pytest.raises(UsageError, match=r"engine\.layout.*'columns'"):
        EngineConfig(layout=wrong)


def test_attention_score_bytes_reads_the_text_config() -> None:
    """The outer config of a multimodal model has no layers."""
    base = make_tiny_base()
    config = SimpleNamespace(get_text_config=lambda **_: base.model.config)
    outer: Any = SimpleNamespace(model=SimpleNamespace(config=config), dtype=base.dtype)
    assert attention_score_bytes(outer, 100) == attention_score_bytes(base, 100) > 0


def test_attention_score_bytes_is_zero_without_attention() -> None:
    assert attention_score_bytes(make_family_base("mamba"), 100) == 0


def test_activation_bytes_counts_experts_that_a_token_runs_through() -> None:
    base = make_family_base("deepseek_v3")
    one_expert, linear = (32 + 2 * 16) + (16 + 32), 0
    for module in find_decoder(base.model).modules():
        if isinstance(module, torch.nn.Linear):
            linear += module.in_features + module.out_features
    assert activation_bytes(base) == 4 * (linear + 2 * one_expert)
    # A convolution is no expert.
    mamba = find_decoder(make_family_base("mamba").model)
    wide = sum(m.in_features + m.out_features for m in mamba.modules() if hasattr(m, "in_features"))
    assert activation_bytes(make_family_base("mamba")) == 4 * wide


def test_activation_bytes_is_the_same_for_packed_weights() -> None:
    """As 4-bit weights are stored: all numbers in one column."""
    base = make_tiny_base()
    expected = activation_bytes(base)
    for module in base.model.modules():
        if isinstance(module, torch.nn.Linear):
            module.weight = torch.nn.Parameter(torch.zeros(module.weight.numel() // 2, 1))
    assert activation_bytes(base) == expected


def test_activation_bytes_counts_transposed_linear_layers() -> None:
    config = GPT2Config(vocab_size=258, n_embd=32, n_layer=2, n_head=4)
    base = replace(make_tiny_base(), model=AutoModelForCausalLM.from_config(config))
    per_layer = (32 + 96) + (32 + 32) + (32 + 128) + (128 + 32)
    assert activation_bytes(base) == 4 * 2 * per_layer
