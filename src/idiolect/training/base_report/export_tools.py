"""Finds out whether other tools can use adapters on a base, and says how that is known."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import gguf

from idiolect.adapters.targets.linear import TargetModule
from idiolect.adapters.targets.peft_rules import load_peft
from idiolect.models.folder.load_errors import describe_load_error
from idiolect.models.folder.weights import silence_transformers
from idiolect.models.structure import get_text_config

Answer = Literal["yes", "no", "not checked here"]
_GGUF_NAMES = {
    "cohere": "command-r",
    "deepseek_v2": "deepseek2",
    "deepseek_v3": "deepseek2",
    "gpt_bigcode": "starcoder",
    "ministral": "mistral3",
    "mistral": "llama",
    "mixtral": "llama",
    "phi": "phi2",
}
"""llama.cpp's names of families that have another name in transformers."""


@dataclass(frozen=True, kw_only=True)
class ExportTool:
    """Whether a tool can use an exported adapter on this base."""

    tool: str
    works: Answer
    known_from: str
    """How that is known, or what would have to be looked up."""
    advice: str = ""
    """What to do if it does not work; empty if it does."""


def check_export_tools(
    empty: Any, targets: Sequence[TargetModule], rank: int
) -> tuple[ExportTool, ...]:
    """Return the verdict on PEFT, llama.cpp's GGUF and vLLM.

    Args:
        empty: a copy of the model without weights; it is changed.
        targets: the modules that get an adapter.
        rank: the rank of the adapters.
    """
    config = get_text_config(empty)
    # PEFT changes the copy, so the config is read before.
    found = _check_gguf(config.model_type, config.num_hidden_layers, targets)
    return _check_peft(empty, targets, rank), _check_vllm(), found


def _check_peft(empty: Any, targets: Sequence[TargetModule], rank: int) -> ExportTool:
    """Let PEFT put an adapter on the copy."""
    peft = load_peft()
    paths = [target.path for target in targets]
    known_from = f"peft {version('peft')} put one on a copy without weights"
    try:
        with silence_transformers(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GPT-2's transposed weights are no news here
            config = peft.LoraConfig(r=rank, target_modules=paths, task_type="CAUSAL_LM")
            peft.inject_adapter_in_model(config, empty, low_cpu_mem_usage=True)
    except Exception as error:  # PEFT's refusals share no base class
        return ExportTool(
            tool="PEFT",
            works="no",
            known_from=f"peft {version('peft')}: {describe_load_error(error)}",
            advice="name other modules: --set lora.targets=...",
        )
    return ExportTool(tool="PEFT", works="yes", known_from=known_from)


def _check_gguf(family: str, layers: int, targets: Sequence[TargetModule]) -> ExportTool:
    """Look the family and each target up in the gguf package, which llama.cpp's converter uses."""
    package = f"gguf {version('gguf')}"
    advice = "use PEFT or vLLM, or merge the adapter into the base with PEFT"
    numbers = {_reduce_name(name): number for number, name in gguf.MODEL_ARCH_NAMES.items()}
    wanted = _reduce_name(_GGUF_NAMES.get(family, family))
    if wanted not in numbers:
        why = f"{package} does not know the family {family}"
        return ExportTool(tool="GGUF", works="no", known_from=why, advice=advice)
    names = gguf.get_tensor_name_map(numbers[wanted], layers)
    for target in targets:
        if names.get_name(target.path + ".weight", try_suffixes=(".weight",)) is None:
            why = f"{package} has no name for {target.path} in this family"
            return ExportTool(tool="GGUF", works="no", known_from=why, advice=advice)
    known_from = (
        f"{package} knows the family and all targets; convert_lora_to_gguf.py of llama.cpp, which "
        "converts the PEFT folder, was not run"
    )
    return ExportTool(tool="GGUF", works="yes", known_from=known_from)


def _check_vllm() -> ExportTool:
    return ExportTool(
        tool="vLLM",
        works="not checked here",
        known_from="look for the architecture, with LoRA, in vLLM's list of supported models",
        advice="if it is not there, serve with PEFT, or merge the adapter into the base with PEFT",
    )


def _reduce_name(family: str) -> str:
    """Return a family's name as both libraries would write it: ``qwen3_5_text`` is ``qwen35``."""
    return family.removesuffix("_text").replace("_", "").replace("-", "").replace(".", "")
