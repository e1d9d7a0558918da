from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from idiolect.adapters.lora import LoraAdapter, LoraConfig, init_lora, merge_weight, target_modules
from idiolect.errors import IntegrityError, MismatchError, UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from support.random_adapters import random_adapter

PATH = "model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


def test_init_lora_depends_only_on_person_and_seed(base: Base) -> None:
    config = LoraConfig()
    first = init_lora(base, config, seed=1, person="a")
    # The global random state must not matter.
    torch.manual_seed(99)
    again = init_lora(base, config, seed=1, person="a")
    for path, (a, b) in first.pairs.items():
        assert torch.equal(a, again.pairs[path][0]) and not b.any()
        assert a.abs().max() <= (1 / a.shape[1]) ** 0.5  # as torch draws a linear layer
        for seed, person in ((2, "a"), (1, "b")):
            other = init_lora(base, config, seed=seed, person=person)
            assert not torch.equal(a, other.pairs[path][0])
    assert first.check_matches_base(base, config) is first
    modules = target_modules(base.model, config)
    assert first.num_bytes == 4 * 8 * sum(s.inputs + s.outputs for s in modules)


def test_init_lora_uses_fp32_or_wider() -> None:
    base_dtypes = (torch.bfloat16, torch.float32, torch.float64)
    found = [
        init_lora(make_tiny_base(dtype=d), LoraConfig(), seed=0, person="a").pairs[PATH][0].dtype
        for d in base_dtypes
    ]
    assert found == [torch.float32, torch.float32, torch.float64]


def test_target_modules_returns_paths_and_widths_in_model_order(base: Base) -> None:
    found = target_modules(base.model, LoraConfig(targets=("v_proj", "down_proj")))
    assert [(s.path.rpartition(".")[2], s.inputs, s.outputs) for s in found] == [
        ("v_proj", 32, 16),
        ("down_proj", 64, 32),
    ] * 2


@pytest.mark.parametrize("target", ["proj", "self_attn", "embed_tokens", "lm_head", ""])
def test_target_modules_rejects_invalid_targets(base: Base, target: str) -> None:
    with pytest.raises(UsageError, match=r"lora\.targets"):
        target_modules(base.model, LoraConfig(targets=("q_proj", target)))


@pytest.mark.parametrize(
    ("name", "value"), [("rank", 0), ("dropout", 1.0), ("dropout", -0.1), ("targets", ())]
)
def test_lora_config_rejects_invalid_settings(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"lora.{name}"):
        LoraConfig(**{name: value})


def replace_pair(adapter: LoraAdapter, path: str, pair: Any) -> LoraAdapter:
    return replace(adapter, pairs={**adapter.pairs, path: pair})


def test_check_matches_base_rejects_mismatched_and_non_finite_adapters(base: Base) -> None:
    adapter = random_adapter(base)
    a, b = adapter.pairs[PATH]
    fewer = {p: pair for p, pair in adapter.pairs.items() if p != PATH}
    other_kind = LoraConfig(rank=4)
    refused: list[tuple[LoraAdapter, str]] = [
        (replace(adapter, base="another"), "made for base"),
        (replace_pair(adapter, PATH, (a[:, :4], b)), r"\(8, 4\)"),
        (replace_pair(adapter, PATH, (a, b.T)), "q_proj"),
        (replace_pair(adapter, "model.layers.9.self_attn.q_proj", (a, b)), r"layers\.9"),
        (replace(adapter, pairs=fewer), PATH),
        (replace(adapter, config=other_kind), "do not match"),
    ]
    for broken, words in refused:
        with pytest.raises(MismatchError, match=words):
            broken.check_matches_base(base)
    with pytest.raises(MismatchError, match=r"rank 8.*rank 4"):
        adapter.check_matches_base(base, other_kind)
    for value in (float("nan"), float("inf")):
        with pytest.raises(IntegrityError, match="not finite"):
            replace_pair(adapter, PATH, (a, torch.full_like(b, value))).check_matches_base(base)


def test_is_same_kind_compares_rank_scale_and_targets() -> None:
    config = LoraConfig(targets=("q_proj", "v_proj"))
    assert config.is_same_kind(replace(config, dropout=0.1, targets=("v_proj", "q_proj")))
    for other in ({"rank": 4}, {"alpha": 16.0}, {"targets": ("q_proj",)}):
        assert not config.is_same_kind(replace(config, **other))  # type: ignore[arg-type]


def test_merge_weight_computes_in_fp32_or_wider() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, a, b = (torch.randn(6, 6, generator=generator) for _ in range(3))
    merged = merge_weight(weight.bfloat16(), a, b, 0.5)
    assert merged.dtype == torch.float32
    assert torch.equal(merged, weight.bfloat16().float() + 0.5 * (b @ a))
    assert merge_weight(weight.double(), a, b, 0.5).dtype == torch.float64
