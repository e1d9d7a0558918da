"""How much a forward holds: by the settings, and by free memory on GPUs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from idiolect.adapters.lora import LoraConfig, init_lora
from idiolect.adapters.stacks.lora import LoraStack
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.render import Example
from idiolect.training.engine import config
from idiolect.training.engine.config import (
    MAX_FORWARD_TOKENS,
    MIN_FORWARD_TOKENS,
    EngineConfig,
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

JOBS = make_jobs()


def on_cuda(base: Base) -> Any:
    """The base as if it were on a GPU."""
    return SimpleNamespace(model=base.model, dtype=base.dtype, device=torch.device("cuda"))


def with_free(monkeypatch: pytest.MonkeyPatch, free: float) -> None:
    monkeypatch.setattr(config, "get_free_bytes", lambda device: free)


def test_on_a_cpu_memory_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with_free(monkeypatch, 1e15)
    assert (
        choose_forward_tokens(make_tiny_base(), JOBS, LORA, EngineConfig())
        == MIN_FORWARD_TOKENS
        == 1024
    )


@pytest.mark.parametrize("base", [make_tiny_base(), on_cuda(make_tiny_base())], ids=["cpu", "cuda"])
def test_what_is_asked_for_stands(base: Any) -> None:
    assert choose_forward_tokens(base, JOBS, LORA, EngineConfig(forward_tokens=77)) == 77


def test_on_cuda_half_of_the_free_memory_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    """In powers of two, so that a little more or less changes nothing."""
    base = on_cuda(make_tiny_base())
    each = activation_bytes(base)

    def tokens(free: float) -> int:
        with_free(monkeypatch, free)
        return choose_forward_tokens(base, JOBS, LORA, EngineConfig())

    assert tokens(0) == MIN_FORWARD_TOKENS
    assert tokens(2 * 4096 * each - 1) == 2048
    assert tokens(2 * 4096 * each) == tokens(2 * 8191 * each) == 4096
    assert tokens(1e15) == MAX_FORWARD_TOKENS


def test_padded_rows_take_more_the_longer_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    base = on_cuda(make_tiny_base())
    with_free(monkeypatch, 2 * 4096 * activation_bytes(base))
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
def test_the_estimate_is_what_autograd_keeps(dtype: torch.dtype) -> None:
    """Of a forward whose attention keeps next to nothing: its rows have two tokens."""
    base, lora = make_tiny_base(dtype=dtype), LoraConfig()
    stack = LoraStack(base, lora, 1).train()
    stack.load_slot(0, init_lora(base, lora, seed=0, person="p"))
    tokens = 400
    rows = [BatchRow(0, Example((n % 200, 1, 2), 2), 0) for n in range(tokens // 2)]
    weights = {w.untyped_storage().data_ptr() for w in base.model.parameters()}
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


def test_a_forward_of_more_tokens_seats_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with_free(monkeypatch, 1e15)
    work = [TrainingJob(person=str(n), examples=JOBS[0].examples[:1]) for n in range(600)]

    def seats(tokens: int) -> int:
        engine = EngineConfig(forward_tokens=tokens)
        return choose_slots(make_tiny_base(), work, LORA, TrainConfig(), engine, None)

    assert seats(1024) == 64 and seats(4096) == 256 and seats(65536) == 600


def test_a_gpu_packs_by_itself() -> None:
    assert uses_packing(on_cuda(make_tiny_base()), LORA, EngineConfig())
    assert not uses_packing(on_cuda(make_tiny_base()), LORA, EngineConfig(layout="rows"))
    assert not uses_packing(on_cuda(make_tiny_base()), LoraConfig(active="answer"), EngineConfig())
    assert not uses_packing(on_cuda(make_tiny_base()), LoraConfig(dropout=0.1), EngineConfig())
    assert not uses_packing(on_cuda(make_tiny_base()), LoraConfig(top_layers=1), EngineConfig())
    assert not uses_packing(make_tiny_base(), LORA, EngineConfig())


def test_verdicts_do_not_hang_on_free_memory() -> None:
    assert EngineConfig().scoring_tokens == MIN_FORWARD_TOKENS
    assert EngineConfig(forward_tokens=5).scoring_tokens == 5


def test_an_unknown_layout_is_refused() -> None:
    wrong: Any = "columns"
    with pytest.raises(UsageError, match=r"engine\.layout.*'columns'"):
        EngineConfig(layout=wrong)
