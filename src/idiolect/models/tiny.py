"""A random two-layer Llama model and a byte tokenizer, for tests without weight files."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from idiolect.models.base import Base, hash_tokenizer

CHAT_TEMPLATE = (
    "{% for m in messages %}<s>{{ m['role'] }}\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)


def make_byte_tokenizer() -> PreTrainedTokenizerFast:
    """Return a tokenizer with one token per byte, plus ``<s>`` and ``</s>``, and a small chat
    template."""
    # Every byte is a token, so there are no merges and no unknown tokens.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def make_tiny_base(seed: int = 0, *, dtype: torch.dtype = torch.float32) -> Base:
    """Return a random two-layer Llama of width 32 on the CPU (four heads, two key-value heads)."""
    tokenizer = make_byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=len(tokenizer) - 2,
        eos_token_id=len(tokenizer) - 1,
        pad_token_id=len(tokenizer) - 1,
        initializer_range=0.2,
        tie_word_embeddings=False,
    )
    # The seed must not change the caller's random state.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = LlamaForCausalLM(config)
    model = model.to(dtype).requires_grad_(False).eval()
    return Base(
        name=f"tiny-{seed}",
        identity=hashlib.sha256(f"tiny-{seed}".encode()).hexdigest(),
        tokenizer_identity=hash_tokenizer(tokenizer),
        model=model,
        tokenizer=tokenizer,
    )
