"""Bases with the first layers of another base."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from idiolect.models.base import Base
from idiolect.models.proof.first_layers import MIN_LAYERS, make_exact_base, make_short_base
from idiolect.models.structure import find_decoder
from idiolect.models.tiny import make_tiny_base

LAYERS = 6


@pytest.fixture
def deep_base() -> Base:
    """A base with six equal layers in bf16."""
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    model: Any = LlamaForCausalLM(config)
    model = model.to(torch.bfloat16).eval()
    return replace(make_tiny_base(1), model=model)


def test_make_short_base_shares_the_weights_of_the_first_layers(deep_base: Base) -> None:
    short = make_short_base(deep_base)
    assert short is not None
    assert len(find_decoder(short.model).layers) == MIN_LAYERS
    assert len(find_decoder(deep_base.model).layers) == LAYERS
    places = {one.data_ptr() for one in deep_base.model.parameters()}
    assert {one.data_ptr() for one in short.model.parameters()} < places


def test_make_short_base_keeps_a_layer_of_each_kind(deep_base: Base) -> None:
    layers = find_decoder(deep_base.model).layers
    # Another shape is another kind, also under the same names.
    layers[3].mlp.up_proj = nn.Linear(16, 48, bias=False)
    short = make_short_base(deep_base)
    assert short is not None and len(find_decoder(short.model).layers) == 4
    layers[5].mlp.up_proj = nn.Linear(16, 24, bias=False)
    assert make_short_base(deep_base) is None


def test_make_exact_base_copies_the_first_layers_in_float32(deep_base: Base) -> None:
    exact = make_exact_base(deep_base)
    assert exact is not None and len(find_decoder(exact.model).layers) == MIN_LAYERS
    assert {one.dtype for one in exact.model.parameters()} == {torch.float32}
    assert {one.dtype for one in deep_base.model.parameters()} == {torch.bfloat16}
