"""Small random bases of families for which some fast ways are wrong, with the right ``Ways``."""

from __future__ import annotations

import random
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from idiolect.adapters.lora import LoraConfig
from idiolect.models.base import Base
from idiolect.models.ways import Ways
from idiolect.prompts.chat_template import encode_invocation
from idiolect.prompts.render import Example
from idiolect.training.jobs import TrainingJob
from support.random_bases import OPTIONS, build_random_base

_WHOLE_ROWS: dict[str, Any] = {"packed": False, "prefix": False, "layers": False, "tree": False}
"""Families with an attention of their own, or with layers that keep a state."""
_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
_MIXED: dict[str, Any] = {**_SIZES, "num_key_value_heads": 2, "intermediate_size": 48}

FAMILIES: dict[str, tuple[dict[str, Any], tuple[str, ...], Ways]] = {
    "opt": (
        {**_SIZES, "ffn_dim": 48, "word_embed_proj_dim": 32},
        ("q_proj", "fc1", "fc2"),
        Ways(
            **_WHOLE_ROWS,
            flat_modules=frozenset(
                f"model.decoder.layers.{layer}.{name}"
                for layer in (0, 1)
                for name in ("fc1", "fc2")
            ),
        ),
    ),
    "deepseek_v3": (
        {
            **_MIXED,
            **OPTIONS["deepseek_v3"],
        },
        ("q_b_proj", "kv_b_proj"),
        Ways(
            **_WHOLE_ROWS,
            attention=False,
            flat_modules=frozenset(f"model.layers.{layer}.self_attn.kv_b_proj" for layer in (0, 1)),
        ),
    ),
    "mamba": (
        {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
        ("in_proj",),
        Ways(**_WHOLE_ROWS),
    ),
    "falcon": (_SIZES, ("query_key_value",), Ways(**_WHOLE_ROWS, prepacked=False)),
    "gpt_neo": (
        {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "intermediate_size": 48,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 8,
        },
        ("q_proj", "v_proj"),
        Ways(**_WHOLE_ROWS),
    ),
    "lfm2": (
        {**_MIXED, "layer_types": ["conv", "full_attention"]},
        ("q_proj", "v_proj"),
        Ways(**_WHOLE_ROWS),
    ),
    "qwen3_5_text": (
        {
            **_MIXED,
            "head_dim": 8,
            "layer_types": ["linear_attention", "full_attention"],
            "linear_num_key_heads": 2,
            "linear_num_value_heads": 2,
            "linear_key_head_dim": 8,
            "linear_value_head_dim": 8,
        },
        ("in_proj_qkv", "q_proj"),
        Ways(**_WHOLE_ROWS),
    ),
}
"""By model type: the sizes, LoRA targets, and the ways that are right."""


PLAIN = Ways(**_WHOLE_ROWS, batched=False, prepacked=False, cached=False, left_padded=False)
"""No fast way at all."""


def make_family_base(
    name: str, *, dtype: torch.dtype = torch.float32, ways: Ways | None = None
) -> Base:
    """Make a random base of a family, with its own ways or others."""
    sizes, _, own = FAMILIES[name]
    make_config: Any = CONFIG_MAPPING[name]
    config = make_config(
        vocab_size=258, bos_token_id=256, eos_token_id=257, pad_token_id=257, **sizes
    )
    return build_random_base(
        f"tiny-{name}", AutoModelForCausalLM, config, dtype=dtype, ways=ways or own
    )


def make_alike_jobs(base: Base, *, people: int = 3) -> tuple[TrainingJob, ...]:
    """Make people whose prompts all begin with the same 15 tokens, have unequal lengths, and ask
    for an answer."""
    draw = random.Random(0)
    opening, call = draw.sample(range(200), 15), encode_invocation(base.tokenizer)

    def make_example(number: int) -> Example:
        prompt = (*opening, *draw.sample(range(200), 2 + number % 7), *call)
        return Example((*prompt, *draw.choices(range(200), k=1 + number % 3)), len(prompt))

    return tuple(
        TrainingJob(
            person=f"p{n}", examples=tuple(make_example(3 * n + 2 * i) for i in range(3 + n))
        )
        for n in range(people)
    )


def make_family_lora(name: str, **settings: Any) -> LoraConfig:
    """Return a small LoRA config on a family's targets."""
    return LoraConfig(rank=2, alpha=4.0, targets=FAMILIES[name][1], **settings)
