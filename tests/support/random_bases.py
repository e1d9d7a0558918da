"""Small random bases of any family, from a config of transformers."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
)

from idiolect.models.base import Base, hash_tokenizer
from idiolect.models.folder.weights import silence_transformers
from idiolect.models.tiny import make_byte_tokenizer
from idiolect.models.ways import Ways
from support.model_families import SIZES

OPTIONS: dict[str, dict[str, Any]] = {
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "mamba": {"state_size": 4},
    "deepseek_v3": {
        "num_key_value_heads": 4,
        "moe_intermediate_size": 16,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "kv_lora_rank": 8,
        "q_lora_rank": 8,
        "qk_rope_head_dim": 4,
        "qk_nope_head_dim": 8,
        "v_head_dim": 8,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": 1,
    },
}
_VISION: dict[str, Any] = {
    "model_type": "siglip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}


def make_random_base(family: str) -> Base:
    """Make a random base in float32; ``gemma3`` is a model for images and text."""
    make_config: Any = CONFIG_MAPPING[family]
    sizes = {**SIZES, **OPTIONS.get(family, {})}
    kind: Any = AutoModelForCausalLM
    if family == "gemma3":
        kind = AutoModelForImageTextToText
        sizes = {"text_config": {**SIZES, "head_dim": 8}, "vision_config": _VISION}
    return build_random_base(f"random-{family}", kind, make_config(**sizes))


def build_random_base(
    name: str,
    kind: Any,
    config: Any,
    *,
    dtype: torch.dtype = torch.float32,
    ways: Ways | None = None,
) -> Base:
    """Build a seeded random base from a config, with the model class that transformers has for
    it."""
    tokenizer = make_byte_tokenizer()
    with torch.random.fork_rng(devices=[]), silence_transformers():
        torch.manual_seed(0)
        model: Any = kind.from_config(config)
        # Larger than usual, so that answers differ and errors show.
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.15)
    return Base(
        name=name,
        identity=hashlib.sha256(name.encode()).hexdigest(),
        tokenizer_identity=hash_tokenizer(tokenizer),
        model=model.to(dtype).requires_grad_(False).eval(),
        tokenizer=tokenizer,
        ways=ways or Ways(),
    )
