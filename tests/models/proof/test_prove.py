"""The proof finds the ways that are right for a family, and those that are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    CohereConfig,
    FalconConfig,
    Gemma3TextConfig,
    LlamaConfig,
    PreTrainedConfig,
    StableLmConfig,
)

from idiolect.errors import IntegrityError, MismatchError
from idiolect.models import attention
from idiolect.models.base import Base
from idiolect.models.cpu.prepacked_linear import prepack_linear
from idiolect.models.forward import partial, prefix_tree, varlen
from idiolect.models.forward.varlen import PackedSequences, forward_packed
from idiolect.models.logits import compute_logits
from idiolect.models.proof.prove import prove_ways
from idiolect.models.structure import find_decoder
from idiolect.models.tiny import make_tiny_base
from idiolect.models.ways import Ways
from support.model_families import SIZES
from support.odd_families import make_family_base

WAYS = ("attention", "batched", "packed", "prefix", "layers", "tree", "cached", "left_padded")


def make_base(config: PreTrainedConfig, dtype: torch.dtype = torch.float32) -> Base:
    """Make a random base whose layers, unlike fresh ones, change their input a lot."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.15)
    model = model.to(dtype).requires_grad_(False).eval()
    return replace(make_tiny_base(), name=config.model_type, model=model)


def list_off(ways: Ways) -> set[str]:
    return {way for way in WAYS if not getattr(ways, way)}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(**SIZES),
        Gemma3TextConfig(**SIZES, head_dim=8, sliding_window=8),
        StableLmConfig(**SIZES),
    ],
    ids=lambda config: config.model_type,
)
def test_prove_ways_allows_all_ways_where_all_are_right(
    config: PreTrainedConfig, dtype: torch.dtype
) -> None:
    ways = prove_ways(make_base(config, dtype))
    assert ways == Ways(), ways.reasons


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("family", "off"),
    [
        ("mamba", {"packed", "prefix", "layers", "tree"}),
        ("lfm2", {"packed", "prefix", "layers", "tree"}),
        ("qwen3_5_text", {"packed", "prefix", "layers", "tree"}),
        ("gpt_neo", {"packed", "prefix", "tree"}),
        ("falcon", {"packed", "prefix", "layers", "tree"}),
        ("opt", {"prefix", "layers"}),
    ],
)
def test_prove_ways_turns_off_what_differs(family: str, off: set[str], dtype: torch.dtype) -> None:
    ways = prove_ways(make_family_base(family, dtype=dtype, ways=Ways()))
    assert list_off(ways) == off == set(ways.reasons)


def test_prove_ways_compares_with_default_attention() -> None:
    """Falcon's eager attention adds ALiBi twice; the default one is what PEFT uses."""
    config = FalconConfig(
        vocab_size=258, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=True
    )
    ways = prove_ways(make_base(config))
    assert not ways.attention and ways.batched


def test_prove_ways_names_flat_modules() -> None:
    ways = prove_ways(make_family_base("opt", ways=Ways()))
    assert {path.rpartition(".")[2] for path in ways.flat_modules} == {"fc1", "fc2"}
    assert not prove_ways(make_tiny_base()).flat_modules


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    ("module", "name", "way"),
    [
        (varlen, "_attend_sequentially", "packed"),
        (prefix_tree, "_gather_tokens", "tree"),
        (partial, "_build_mask", "prefix"),
    ],
    ids=lambda part: str(part),
)
def test_prove_ways_notices_way_that_is_slightly_wrong(
    module: Any, name: str, way: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    right: Callable[..., Tensor] = getattr(module, name)

    def shift_slightly(*parts: Any, **options: Any) -> Tensor:
        found = right(*parts, **options)
        return found * 0.99 + 0.01 * found.roll(1, -2)

    base = make_tiny_base(dtype=dtype)
    assert way not in list_off(prove_ways(base))
    monkeypatch.setattr(module, name, shift_slightly)
    assert way in list_off(prove_ways(base))


def test_prove_ways_rejects_model_that_looks_ahead() -> None:
    config = BertConfig(vocab_size=258, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
    with pytest.raises(MismatchError, match="attends to later tokens"):
        prove_ways(make_base(config))


def test_prove_ways_rejects_weights_that_are_not_finite() -> None:
    base = make_tiny_base()
    find_decoder(base.model).layers[1].mlp.up_proj.weight[0, 0] = torch.nan
    with pytest.raises(IntegrityError, match="not finite"):
        prove_ways(base)


def test_prove_ways_names_float32_where_narrow_precision_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = make_tiny_base(dtype=torch.bfloat16)
    right = torch.nn.functional.silu

    def require_float32(x: Tensor, **options: Any) -> Tensor:
        if x.dtype != torch.float32:
            raise RuntimeError("no kernel for this dtype")
        return right(x, **options)

    monkeypatch.setattr(torch.nn.functional, "silu", require_float32)
    with pytest.raises(MismatchError, match=r"no kernel .*--dtype float32"):
        prove_ways(base)


@torch.no_grad()
def test_compute_logits_scales_as_model_does() -> None:
    base = make_base(CohereConfig(**SIZES, logit_scale=0.0625))
    ids = torch.tensor([[5, 6, 7]])
    hidden = find_decoder(base.model)(input_ids=ids, use_cache=False).last_hidden_state
    expected = base.model(input_ids=ids, use_cache=False).logits
    assert torch.allclose(compute_logits(base.model, hidden), expected, atol=1e-6)
    assert not prove_ways(base).head


def test_forward_packed_refuses_way_that_is_off() -> None:
    base = replace(make_tiny_base(), ways=Ways(packed=False, reasons={"packed": "it leaks"}))
    with pytest.raises(MismatchError, match=r"'packed' .* it leaks"):
        forward_packed(base, torch.tensor([5, 6]), PackedSequences.from_lengths([2], base.device))


def test_prepacked_falcon_can_be_differentiated() -> None:
    """Falcon changes the output of a linear module in place."""
    base = make_family_base("falcon", dtype=torch.bfloat16)
    with prepack_linear(base.model):
        embedded = base.model.get_input_embeddings()(torch.tensor([[5, 6, 7]]))
        logits = base.model(inputs_embeds=embedded.requires_grad_(), use_cache=False).logits
        logits.float().sum().backward()
    assert embedded.grad is not None and embedded.grad.isfinite().all()


def test_use_attention_restores_default_attention() -> None:
    base = make_tiny_base()
    before = base.model.config._attn_implementation
    with attention.use_attention(base.model):
        assert base.model.config._attn_implementation == attention.NAME
    assert base.model.config._attn_implementation == before == "sdpa"
