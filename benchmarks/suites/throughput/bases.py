"""The base model to train on: a real one, or seeded random weights of a known shape.

A random base is as fast as a real one and needs no download.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from idiolect.models import attention
from idiolect.models.base import Base, hash_tokenizer
from idiolect.models.device import pick_device, pick_dtype
from idiolect.models.load import load_base
from idiolect.models.tiny import make_byte_tokenizer

SHAPES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {
        "vocab_size": 300,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "135m": {
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
    },
    "1b": {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
    "8b": {
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}
"""The published shapes of SmolLM2-135M, Llama 3.2 1B and Llama 3.1 8B, and a tiny one for tests."""


def load_shape_or_base(name: str, device: str = "auto") -> Base:
    """Return a base with random weights if ``name`` is a shape, else what ``load_base`` loads."""
    if name not in SHAPES:
        return load_base(name, device=device)
    where = pick_device(device)
    config = LlamaConfig(**SHAPES[name], max_position_embeddings=1024, pad_token_id=0)
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        torch.manual_seed(0)
        with where:
            model: Any = LlamaForCausalLM._from_config(
                config,
                dtype=torch.float32 if name == "tiny" else pick_dtype("auto", where),
                attn_implementation=attention.NAME if where.type == "cpu" else "sdpa",
            )
    tokenizer = make_byte_tokenizer()
    return Base(
        name=f"random weights of the shape {name}",
        identity=hashlib.sha256(f"shape {name}".encode()).hexdigest(),
        tokenizer_identity=hash_tokenizer(tokenizer),
        model=model.requires_grad_(False).eval(),
        tokenizer=tokenizer,
    )
