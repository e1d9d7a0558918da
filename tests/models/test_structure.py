"""Where families keep their layers and their attention."""

from __future__ import annotations

from typing import Any

from transformers import FalconConfig, FalconForCausalLM, LlamaConfig, Qwen2Config

from idiolect.models import attention
from idiolect.models.structure import copy_config, find_attention_span

SIZES: dict[str, Any] = {
    "vocab_size": 16,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


class ConfigOwner:
    """Something with a config, which is all that is looked at."""

    def __init__(self, config: Any) -> None:
        self.config = config


def test_copy_config_makes_model_whose_attention_was_switched_again() -> None:
    """Falcon finds no class for an attention that transformers does not have."""
    model: Any = FalconForCausalLM(FalconConfig(**SIZES))
    model.config._attn_implementation = attention.NAME
    again = type(model)(copy_config(model))
    assert [p.shape for p in again.parameters()] == [p.shape for p in model.parameters()]
    assert model.config._attn_implementation == attention.NAME


def test_attention_span_is_the_smallest_window_and_no_flag() -> None:
    windows = {"use_sliding_window": True, "sliding_window": 24, "max_window_layers": 0}
    assert find_attention_span(ConfigOwner(Qwen2Config(**SIZES, **windows))) == 24
    assert find_attention_span(ConfigOwner(LlamaConfig(**SIZES))) is None
