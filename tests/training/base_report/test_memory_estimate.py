from __future__ import annotations

from dataclasses import replace

import pytest

from idiolect.training.base_report.memory_estimate import estimate_memory
from idiolect.training.base_report.model_sizes import ModelSizes

SIZES = ModelSizes(
    parameters=1_000_000,
    quantizable=640_000,
    activations=1_000,
    scores=10,
    cache=100,
    state=7,
    vocabulary=500,
)


def test_estimate_memory_adds_up_bf16() -> None:
    found = estimate_memory(SIZES, "bf16", 1_000)
    assert found.base == 2_000_000
    assert found.person == 20_000
    forward = 1024 * (1_000 + 10 * 512) * 2
    assert found.train == 2_000_000 + 8 * 20_000 + forward + 128 * 500 * 8
    assert found.serve == 2_000_000 + 4_000 + (100 * 2048 + 7) * 2


def test_estimate_memory_quantizes_linear_layers_only() -> None:
    whole, small = (estimate_memory(SIZES, one, 1_000) for one in ("bf16", "nf4"))
    scales = 640_000 / 64 + 4 * 640_000 / (64 * 256)
    assert small.base == round(640_000 / 2 + scales) + 360_000 * 2
    assert whole.person == small.person
    assert whole.train - small.train == whole.serve - small.serve == whole.base - small.base


@pytest.mark.parametrize("field", ["parameters", "activations", "scores", "vocabulary"])
def test_estimate_memory_grows_with_each_size(field: str) -> None:
    more = replace(SIZES, **{field: 2 * getattr(SIZES, field)})
    assert estimate_memory(more, "nf4", 1).train > estimate_memory(SIZES, "nf4", 1).train
