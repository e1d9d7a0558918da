"""The engine on a CUDA device; off by default (``pytest -m gpu``)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from idiolect.adapters.lora import LoraConfig
from idiolect.models.base import Base
from idiolect.models.device import get_free_bytes
from idiolect.models.forward.varlen import find_kernel
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.render import Example
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.memory_plan import choose_forward_tokens, uses_packing
from idiolect.training.engine.train_many import train_many
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig
from support.job_strategies import relative_difference

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]

CONFIG = TrainConfig(epsilon=1e-2)
JOBS = [
    TrainingJob(
        person=f"p{n}",
        examples=tuple(Example(tuple(range(n + 1, n + 9 + i)), 4 + i) for i in range(3 + n)),
    )
    for n in range(5)
]


def make_cuda_base(dtype: torch.dtype) -> Base:
    base = make_tiny_base(dtype=dtype)
    return replace(base, model=base.model.to("cuda"))


@pytest.mark.parametrize("layout", ["rows", "packed"])
@pytest.mark.parametrize(
    ("dtype", "near"), [(torch.float64, 1e-6), (torch.float32, 1e-3)], ids=["fp64", "fp32"]
)
def test_train_many_on_cuda_equals_cpu_reference(
    layout: str, dtype: torch.dtype, near: float
) -> None:
    engine = EngineConfig(slots=2, forward_tokens=64, layout=layout)  # type: ignore[arg-type]
    on_gpu = train_many(make_cuda_base(dtype), JOBS, LoraConfig(), CONFIG, engine)
    for job, ours in zip(JOBS, on_gpu, strict=True):
        alone = train_one(make_tiny_base(dtype=dtype), job, LoraConfig(), CONFIG)
        assert relative_difference(ours.adapter, alone.adapter) <= near


def test_train_many_with_bf16_kernels_reaches_loss_of_padded() -> None:
    base = make_cuda_base(torch.bfloat16)
    assert uses_packing(base, LoraConfig(), EngineConfig())
    width = base.model.config.hidden_size // base.model.config.num_attention_heads
    query = torch.zeros(1, 4, 3, width, dtype=torch.bfloat16, device="cuda")
    assert find_kernel(query) is not None
    packed, padded = (
        train_many(base, JOBS, LoraConfig(), TrainConfig(rate=1e-2), EngineConfig(layout=layout))
        for layout in ("auto", "rows")
    )
    for ours, theirs in zip(packed, padded, strict=True):
        assert ours.last_loss == pytest.approx(theirs.last_loss, rel=0.02)
        assert ours.last_loss < ours.first_loss


def test_choose_forward_tokens_counts_cached_memory_as_free() -> None:
    base = make_cuda_base(torch.bfloat16)
    before = choose_forward_tokens(base, JOBS, LoraConfig(), EngineConfig())
    held = torch.empty(get_free_bytes(base.device) // 2, dtype=torch.uint8, device="cuda")
    del held
    assert choose_forward_tokens(base, JOBS, LoraConfig(), EngineConfig()) == before
