from __future__ import annotations

from typing import Any

import torch
from transformers import AutoModelForCausalLM, FalconConfig, MambaConfig, MixtralConfig

from idiolect.models.tiny import make_tiny_base
from idiolect.training.base_report.model_sizes import make_empty_copy, measure_sizes
from support.model_families import SIZES


def make_model(config: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        return AutoModelForCausalLM.from_config(config).eval()


def test_measure_sizes_counts_tiny_llama() -> None:
    sizes = measure_sizes(make_tiny_base().model)
    # Widths: q 32 to 32, k and v 32 to 16, o 32 to 32, gate and up 32 to 64, down 64 to 32.
    attention, mlp = 2 * 32 * 32 + 2 * 32 * 16, 3 * 32 * 64
    assert sizes.quantizable == 2 * (attention + mlp)
    assert sizes.parameters == sizes.quantizable + 2 * 258 * 32 + (2 * 2 + 1) * 32
    assert sizes.activations == 2 * (2 * 64 + 2 * 48 + 3 * 96)
    assert sizes.scores == 2 * 2 * 4
    assert (sizes.cache, sizes.state) == (2 * 2 * 2 * 8, 0)
    assert sizes.vocabulary == 258


def test_make_empty_copy_has_same_sizes_and_no_weights() -> None:
    model = make_tiny_base().model
    empty = make_empty_copy(model)
    assert {one.device.type for one in empty.parameters()} == {"meta"}
    assert measure_sizes(empty) == measure_sizes(model)


def test_make_empty_copy_takes_model_with_own_attention() -> None:
    """Falcon picks its layers by the attention's name when it is built."""
    config = FalconConfig(
        vocab_size=258, hidden_size=32, num_hidden_layers=2, num_attention_heads=4
    )
    model = make_model(config)
    model.config._attn_implementation = "idiolect"
    assert measure_sizes(make_empty_copy(model)).parameters == measure_sizes(model).parameters
    assert model.config._attn_implementation == "idiolect"


def test_make_empty_copy_ties_weights() -> None:
    tied = make_model(MixtralConfig(**SIZES, num_local_experts=2, tie_word_embeddings=True))
    assert measure_sizes(make_empty_copy(tied)) == measure_sizes(tied)


def test_measure_sizes_reads_cache_of_experts_from_config() -> None:
    """Which expert a token gets depends on numbers, which an empty copy does not have."""
    empty = make_empty_copy(make_model(MixtralConfig(**SIZES, num_local_experts=2)))
    sizes = measure_sizes(empty)
    assert (sizes.cache, sizes.state) == (2 * 2 * 2 * 8, 0)


def test_measure_sizes_counts_state_apart_from_cache() -> None:
    config = MambaConfig(vocab_size=258, hidden_size=32, num_hidden_layers=2, state_size=4)
    sizes = measure_sizes(make_model(config))
    inner = config.intermediate_size
    assert sizes.cache == 0
    assert sizes.state == 2 * inner * (config.state_size + config.conv_kernel)
