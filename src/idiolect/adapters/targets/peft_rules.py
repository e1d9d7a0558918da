"""What the installed PEFT says about a model: its default targets, and the modules that it refuses.

PEFT refuses some linear modules of some families: those that a kernel bypasses (Mamba), and those
whose names it takes for experts (Qwen MoE, DeepSeek). So PEFT itself is asked, with a model without
memory. Loading PEFT takes seconds, so the family of the bundled base is answered from here.
"""

from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from idiolect.adapters.targets.linear import TargetModule
from idiolect.models.linear import is_transposed
from idiolect.models.structure import copy_config, get_text_config

_KNOWN_TARGETS = {"llama": ("q_proj", "v_proj")}
"""PEFT's default targets of families of which it refuses nothing."""


def get_default_targets(model: Any) -> str | tuple[str, ...] | None:
    """Return PEFT's default targets for a model's family, names or a regular expression; None if
    PEFT has none."""
    families = (model.config.model_type, get_text_config(model).model_type)
    known = _KNOWN_TARGETS.get(families[0])
    if known is not None:
        return known
    listed: Mapping[str, str | Sequence[str]] = (
        load_peft().utils.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
    )
    found = next((listed[family] for family in families if family in listed), None)
    return found if found is None or isinstance(found, str) else tuple(found)


def find_refused_modules(model: Any, modules: Sequence[TargetModule]) -> dict[str, str]:
    """Return those of a model's modules to which PEFT adds no LoRA: the path, and the reason in
    PEFT's words."""
    if model.config.model_type in _KNOWN_TARGETS:
        return {}
    peft = load_peft()
    # The same modules without memory: PEFT looks at names, classes and the config only.
    with torch.device("meta"):
        skeleton = type(model)(copy_config(model))
    refused: dict[str, str] = {}
    for name in dict.fromkeys(module.name for module in modules):
        paths = [module.path for module in modules if module.name == name]
        config = peft.LoraConfig(
            r=1,
            target_modules=paths,
            fan_in_fan_out=is_transposed(model.get_submodule(paths[0])),
        )
        reason = "it takes the name for that of experts"
        try:
            # Each name has its own adapter, so one skeleton serves all.
            with warnings.catch_warnings(action="ignore"):
                peft.inject_adapter_in_model(config, skeleton, name, low_cpu_mem_usage=True)
        except ValueError as error:
            reason = str(error).splitlines()[0]
        for path in paths:
            if name not in getattr(skeleton.get_submodule(path), "lora_A", ()):
                refused[path] = reason
    return refused


def load_peft() -> Any:
    """Import PEFT without the log lines of the libraries that it tries to load."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        return importlib.import_module("peft")
    finally:
        logging.disable(before)
