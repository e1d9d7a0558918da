"""Small random models of every supported model family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

from idiolect.models.folder.weights import silence_transformers
from idiolect.models.tiny import make_byte_tokenizer

SIZES: dict[str, Any] = {
    "vocab_size": 258,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": 257,
}
# Attention windows shorter than the examples, and a soft cap low enough to change the logits.
MODEL_CONFIGS = [
    LlamaConfig(**SIZES),
    MistralConfig(**SIZES, sliding_window=8),
    Qwen2Config(**SIZES, tie_word_embeddings=True),
    Qwen3Config(**SIZES, head_dim=8),
    GemmaConfig(**SIZES, head_dim=8),
    Gemma2Config(**SIZES, head_dim=8, sliding_window=8, final_logit_softcapping=0.5),
    Gemma3TextConfig(**SIZES, head_dim=8, sliding_window=8),
]


def save_random_model(config: Any, folder: Path) -> Any:
    """Save a seeded random model with its tokenizer in a folder, and return the model."""
    with torch.random.fork_rng(devices=[]), silence_transformers():
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
        model.save_pretrained(folder)
        make_byte_tokenizer().save_pretrained(folder)
    return model.eval()
