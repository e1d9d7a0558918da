from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPTNeoConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    Qwen3Config,
)

from idiolect.adapters.lora import LoraConfig, target_modules
from idiolect.adapters.targets.linear import TargetModule
from idiolect.training.base_report.export_tools import ExportTool, check_export_tools
from support.model_families import SIZES


def check_tools(config: Any, targets: Sequence[str]) -> dict[str, ExportTool]:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    modules = target_modules(model, LoraConfig(targets=tuple(targets)))
    return {one.tool: one for one in check_export_tools(model, modules, 8)}


@pytest.mark.parametrize(
    "config",
    [LlamaConfig(**SIZES), MistralConfig(**SIZES), Qwen3Config(**SIZES, head_dim=8)],
    ids=lambda config: config.model_type,
)
def test_check_export_tools_knows_common_families(config: Any) -> None:
    found = check_tools(config, ["q_proj", "v_proj"])
    assert list(found) == ["PEFT", "vLLM", "GGUF"]
    assert [one.works for one in found.values()] == ["yes", "not checked here", "yes"]
    assert found["PEFT"].advice == "" and found["vLLM"].advice
    assert found["GGUF"].known_from.startswith("gguf ")


def test_check_export_tools_knows_transposed_weights_of_gpt2() -> None:
    config = GPT2Config(vocab_size=258, n_embd=32, n_layer=2, n_head=4, n_positions=64)
    found = check_tools(config, ["c_attn"])
    assert (found["PEFT"].works, found["GGUF"].works) == ("yes", "yes")


def test_check_export_tools_reports_family_that_gguf_lacks() -> None:
    config = GPTNeoConfig(
        vocab_size=258,
        hidden_size=32,
        num_layers=2,
        attention_types=[[["global", "local"], 1]],
        num_heads=4,
        max_position_embeddings=64,
    )
    found = check_tools(config, ["q_proj", "v_proj"])["GGUF"]
    assert found.works == "no" and "does not know the family gpt_neo" in found.known_from
    assert "merge the adapter" in found.advice


def test_check_export_tools_reports_what_peft_refuses() -> None:
    config = MambaConfig(vocab_size=258, hidden_size=32, num_hidden_layers=2, state_size=4)
    found = check_tools(config, ["out_proj"])["PEFT"]
    assert found.works == "no" and "out_proj" in found.known_from and found.advice


def test_check_export_tools_reports_target_without_name_in_gguf() -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(LlamaConfig(**SIZES))
    odd = [TargetModule("model.layers.0.self_attn.odd_proj", 32, 32)]
    found = {one.tool: one for one in check_export_tools(model, odd, 8)}["GGUF"]
    assert found.works == "no" and "no name for model.layers.0.self_attn.odd_proj" in (
        found.known_from
    )
