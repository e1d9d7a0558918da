"""Small random models of the families of causal language models in transformers.

A configuration is a family with options that change how the model runs: tied matrices, windows,
position codes, scaled logits, shared keys and values. All are made here, with two layers of width
64 and a vocabulary of bytes, so that a whole training takes a fraction of a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    CONFIG_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForSeq2SeqLM,
)

from idiolect.models.folder.weights import silence_transformers
from idiolect.models.tiny import make_byte_tokenizer
from support import model_families

SIZES: dict[str, Any] = {**model_families.SIZES, "hidden_size": 64, "intermediate_size": 96}
WINDOW = 16
"""Shorter than most examples of the tests, so that a window that is not obeyed shows."""


@dataclass(frozen=True, kw_only=True)
class FamilyConfiguration:
    """One family with its options."""

    name: str
    """The family as ``config.json`` names it, and after a colon what is special."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Arguments of the config besides ``SIZES``."""
    targets: tuple[str, ...] = ("auto",)
    """What gets adapters; named where ``auto`` finds nothing."""

    @property
    def model_type(self) -> str:
        """The family's ``model_type``."""
        return self.name.partition(":")[0]

    def make_model(self) -> Any:
        """Return the model of transformers that people save for this family."""
        kind: Any = AutoModelForCausalLM
        if "vision_config" in self.options:
            kind = AutoModelForImageTextToText
        elif self.model_type == "t5":
            kind = AutoModelForSeq2SeqLM
        return kind.from_config(CONFIG_MAPPING[self.model_type](**{**SIZES, **self.options}))


def _configure(
    name: str, *, targets: tuple[str, ...] = ("auto",), **options: Any
) -> FamilyConfiguration:
    return FamilyConfiguration(name=name, options=options, targets=targets)


_FULL_ATTENTION_LAST = ["linear_attention", "full_attention"]
_WINDOW_FIRST: dict[str, Any] = {
    "sliding_window": WINDOW,
    "layer_types": ["sliding_attention", "full_attention"],
}
_HEAD: dict[str, Any] = {"head_dim": 16}
_EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
}
_ROUTED: dict[str, Any] = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_shared_experts": 1,
    "moe_intermediate_size": 32,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
}
_LATENT: dict[str, Any] = {
    "kv_lora_rank": 16,
    "q_lora_rank": 24,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 16,
    "v_head_dim": 16,
    "num_key_value_heads": 4,
}
_LINEAR: dict[str, Any] = {
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "layer_types": _FULL_ATTENTION_LAST,
}
_MAMBA_2: dict[str, Any] = {
    "mamba_n_heads": 4,
    "mamba_d_head": 32,
    "mamba_n_groups": 1,
    "mamba_d_state": 16,
    "mamba_chunk_size": 8,
}
_ROPE_LLAMA_3: dict[str, Any] = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_ROPE_YARN: dict[str, Any] = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
}
_VISION: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 4,
}
_LLAMA_4: dict[str, Any] = {
    "intermediate_size_mlp": 96,
    "num_local_experts": 4,
    "interleave_moe_layer_step": 2,
    "attention_chunk_size": WINDOW,
    "no_rope_layers": [1, 0],
}
_NO_DROPOUT_GPT: dict[str, Any] = {"resid_pdrop": 0.1, "embd_pdrop": 0.1, "attn_pdrop": 0.1}

CONFIGURATIONS: tuple[FamilyConfiguration, ...] = (
    # Attention as in Llama, with its options.
    _configure("llama", tie_word_embeddings=False),
    _configure("llama:tied", tie_word_embeddings=True),
    _configure("llama:rope llama3", rope_parameters=_ROPE_LLAMA_3),
    _configure("llama:rope yarn, biases", rope_parameters=_ROPE_YARN, attention_bias=True),
    _configure("llama:one key-value head", num_key_value_heads=1, mlp_bias=True),
    _configure("mistral:window", sliding_window=WINDOW),
    _configure("mistral:no window", sliding_window=None),
    _configure("ministral", **_HEAD, **_WINDOW_FIRST),
    _configure("qwen2"),
    _configure(
        "qwen2:tied, window",
        tie_word_embeddings=True,
        use_sliding_window=True,
        max_window_layers=1,
        sliding_window=WINDOW,
    ),
    _configure("qwen3", **_HEAD),
    _configure("gemma", **_HEAD),
    _configure(
        "gemma2", **_HEAD, **_WINDOW_FIRST, attn_logit_softcapping=2.0, final_logit_softcapping=2.0
    ),
    _configure("gemma3_text", **_HEAD, **_WINDOW_FIRST),
    _configure("vaultgemma", **_HEAD, **_WINDOW_FIRST),
    _configure("olmo", clip_qkv=0.5),
    _configure("olmo2"),
    _configure("olmo3", **_WINDOW_FIRST),
    _configure("smollm3:a layer without positions", no_rope_layers=[1, 0]),
    _configure("arcee"),
    _configure("apertus"),
    _configure("seed_oss", **_HEAD),
    _configure("helium", **_HEAD),
    _configure("glm", **_HEAD),
    _configure("glm4", **_HEAD),
    _configure("ernie4_5", **_HEAD),
    _configure("exaone4", **_WINDOW_FIRST),
    _configure("hunyuan_v1_dense", **_HEAD),
    _configure("nanochat"),
    _configure("nemotron"),
    _configure("starcoder2", sliding_window=None),
    _configure("stablelm", use_qkv_bias=True, use_parallel_residual=True),
    _configure("phi", qk_layernorm=True),
    _configure("phi3"),
    _configure("persimmon"),
    _configure("diffllama"),
    _configure(
        "granite:scaled logits",
        logits_scaling=8.0,
        residual_multiplier=0.5,
        embedding_multiplier=2.0,
        attention_multiplier=0.2,
    ),
    _configure("granite:plain logits"),
    _configure("cohere:scaled logits", logit_scale=0.0625, use_qk_norm=True),
    _configure("cohere:plain logits", logit_scale=1.0),
    _configure("cohere2", **_WINDOW_FIRST, logit_scale=0.25),
    # Latent keys and values.
    _configure("deepseek_v3", **_LATENT, **_ROUTED),
    _configure("minicpm3", **_LATENT),
    # Experts.
    _configure("mixtral", num_local_experts=4, num_experts_per_tok=2),
    _configure("qwen2_moe", **_EXPERTS),
    _configure("qwen3_moe", **_EXPERTS, **_HEAD),
    _configure("olmoe", num_experts=4, num_experts_per_tok=2),
    _configure("phimoe", num_local_experts=4, num_experts_per_tok=2),
    _configure("glm4_moe", **_ROUTED, **_HEAD),
    _configure("dots1", **_ROUTED, sliding_window=None),
    _configure(
        "ernie4_5_moe",
        moe_num_experts=4,
        moe_k=2,
        moe_intermediate_size=32,
        moe_num_shared_experts=1,
    ),
    _configure("granitemoe", num_local_experts=4, num_experts_per_tok=2, logits_scaling=4.0),
    _configure(
        "gpt_oss:sinks", **_HEAD, **_WINDOW_FIRST, num_local_experts=4, num_experts_per_tok=2
    ),
    _configure("jetmoe", kv_channels=16, num_local_experts=4, num_experts_per_tok=2),
    _configure(
        "dbrx",
        d_model=64,
        n_heads=4,
        n_layers=2,
        max_seq_len=256,
        attn_config={"kv_n_heads": 2, "clip_qkv": 1.0, "rope_theta": 10000.0},
        ffn_config={"ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2},
    ),
    _configure("hunyuan_v1_moe", **_HEAD, num_experts=4, moe_topk=2),
    _configure(
        "afmoe",
        **_EXPERTS,
        **_HEAD,
        **_WINDOW_FIRST,
        num_shared_experts=1,
        route_scale=2.0,
        mup_enabled=True,
    ),
    _configure("flex_olmo", num_experts=4, num_experts_per_tok=2),
    # Positions, projections or attention of their own.
    _configure("gpt2", **_NO_DROPOUT_GPT),
    _configure("gpt_bigcode:multi-query", multi_query=True),
    _configure("gpt_bigcode:many heads", multi_query=False),
    _configure(
        "gpt_neo",
        attention_types=[[["global", "local"], 1]],
        window_size=WINDOW,
        intermediate_size=96,
    ),
    _configure("gpt_neox"),
    _configure("gptj", rotary_dim=8),
    _configure("codegen", rotary_dim=8),
    _configure("opt", ffn_dim=96),
    _configure(
        "opt:projected embeddings", ffn_dim=96, word_embed_proj_dim=32, do_layer_norm_before=False
    ),
    _configure("xglm", ffn_dim=96),
    _configure("biogpt"),
    _configure("openai-gpt"),
    _configure("ctrl", dff=96),
    _configure("modernbert-decoder", local_attention=WINDOW),
    _configure("roformer:decoder", is_decoder=True),
    _configure("bloom:alibi"),
    _configure("mpt:alibi"),
    _configure("falcon:multi-query", multi_query=True),
    _configure("falcon:new decoder", new_decoder_architecture=True, num_kv_heads=2, bias=True),
    _configure("falcon:alibi", alibi=True, multi_query=False, parallel_attn=False, bias=True),
    # Layers with a state or a convolution.
    _configure("mamba", state_size=4),
    _configure("mamba2", num_heads=8, head_dim=16, state_size=16, n_groups=1, chunk_size=8),
    _configure("falcon_mamba", state_size=4),
    _configure(
        "jamba",
        attn_layer_period=2,
        attn_layer_offset=1,
        num_experts=4,
        num_experts_per_tok=2,
        mamba_d_state=4,
        use_mamba_kernels=False,
    ),
    _configure("bamba", **_MAMBA_2, attn_layer_indices=[1]),
    _configure(
        "zamba2",
        layers_block_type=["mamba", "hybrid"],
        n_mamba_heads=4,
        mamba_d_state=16,
        chunk_size=8,
        use_mamba_kernels=False,
    ),
    _configure(
        "falcon_h1",
        **_MAMBA_2,
        mamba_d_ssm=128,
        lm_head_multiplier=0.5,
        key_multiplier=0.5,
        **_HEAD,
    ),
    _configure(
        "granitemoehybrid",
        **_MAMBA_2,
        layer_types=["mamba", "attention"],
        num_local_experts=4,
        num_experts_per_tok=2,
        logits_scaling=2.0,
    ),
    _configure(
        "nemotron_h",
        layers_block_type=["mamba", "attention", "moe"],
        **_HEAD,
        ssm_state_size=16,
        mamba_num_heads=4,
        mamba_head_dim=32,
        n_groups=1,
        chunk_size=8,
        n_routed_experts=4,
        moe_intermediate_size=32,
        moe_shared_expert_intermediate_size=32,
        use_mamba_kernels=False,
    ),
    _configure(
        "recurrent_gemma",
        block_types=["recurrent", "attention"],
        attention_window_size=WINDOW,
        lru_width=64,
    ),
    _configure("rwkv", context_length=256),
    _configure("qwen3_next", **_EXPERTS, **_LINEAR, **_HEAD),
    _configure("qwen3_5_text", **_LINEAR, **_HEAD),
    _configure("olmo_hybrid", **_LINEAR),
    _configure(
        "minimax",
        layer_types=_FULL_ATTENTION_LAST,
        block_size=8,
        num_local_experts=4,
        num_experts_per_tok=2,
    ),
    _configure("lfm2", layer_types=["conv", "full_attention"], block_multiple_of=16),
    _configure("lfm2_moe", **_EXPERTS, layer_types=["conv", "full_attention"], num_dense_layers=1),
    _configure(
        "kimi_linear",
        **_LATENT,
        **_EXPERTS,
        layer_types=_FULL_ATTENTION_LAST,
        linear_head_dim=16,
        linear_num_heads=4,
        n_shared_experts=1,
    ),
    _configure("xlstm", targets=("q", "v"), num_heads=4, chunk_size=8, qk_dim_factor=1.0),
    # Several kinds of heads or embeddings in one model.
    _configure(
        "gemma4_text",
        **_HEAD,
        **_WINDOW_FIRST,
        global_head_dim=32,
        vocab_size_per_layer_input=258,
        hidden_size_per_layer_input=8,
        num_global_key_value_heads=1,
    ),
    _configure(
        "gemma3n_text",
        **_HEAD,
        **_WINDOW_FIRST,
        vocab_size_per_layer_input=258,
        hidden_size_per_layer_input=8,
        num_kv_shared_layers=0,
        laurel_rank=8,
        activation_sparsity_pattern=[0.0, 0.0],
    ),
    _configure(
        "llama4_text",
        **_HEAD,
        intermediate_size_mlp=96,
        num_local_experts=4,
        interleave_moe_layer_step=2,
        attention_chunk_size=WINDOW,
        no_rope_layers=[1, 0],
    ),
    # A text part among others, in an outer config.
    _configure(
        "gemma3:with a vision part",
        text_config=SIZES | _HEAD | _WINDOW_FIRST,
        vision_config=_VISION,
        mm_tokens_per_image=4,
        image_token_index=255,
    ),
    _configure(
        "llama4:with a vision part",
        text_config=SIZES | _HEAD | _LLAMA_4,
        vision_config=_VISION | {"vision_output_dim": 64},
        image_token_index=255,
    ),
    _configure(
        "qwen3_5:with a vision part",
        text_config=SIZES | _HEAD | _LINEAR,
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 64,
            "patch_size": 4,
        },
    ),
    _configure(
        "mistral3:with a vision part",
        text_config={"model_type": "mistral"} | SIZES,
        vision_config={"model_type": "pixtral"} | _VISION,
    ),
    # No causal language models.
    _configure("bert:encoder"),
    _configure("t5:encoder and decoder", d_model=64, d_kv=16, d_ff=96, num_heads=4, num_layers=2),
)

REFUSED: dict[str, str] = {
    "bert:encoder": "attends to later tokens",
    "t5:encoder and decoder": "an encoder with a decoder",
}
"""Configurations that are refused when they are opened, and words of the message."""


def save_family(one: FamilyConfiguration, folder: Path) -> Any:
    """Save a seeded random model with its tokenizer in a folder, and return the model."""
    # The seed must not change the caller's random state.
    with torch.random.fork_rng(devices=[]), silence_transformers():
        torch.manual_seed(0)
        model = one.make_model()
        randomize_weights(model)
        model.save_pretrained(folder)
        make_byte_tokenizer().save_pretrained(folder)
    return model.eval()


@torch.no_grad()
def randomize_weights(model: nn.Module) -> None:
    """Draw all matrices of a model anew, and add noise to all its other weights.

    Initial biases of 0 and norms of 1 would hide what drops or repeats them; small matrices would
    hide a wrong softmax.
    """
    for name, weight in model.named_parameters():
        if weight.dim() >= 2 and min(weight.shape[-2:]) > 1 and not name.endswith("A_log"):
            weight.normal_(0, 0.1)
        else:
            weight.add_(0.1 * torch.randn_like(weight))
