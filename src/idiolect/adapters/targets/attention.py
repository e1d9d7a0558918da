"""The projections of attention, which get adapters by default: query and value.

PEFT lists them for many families. In other families they are found by their place, which is inside
a module of attention, and by what they are called there. State-space models have no attention;
their projection into the mixer takes its place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from idiolect.adapters.targets.linear import TargetModule
from idiolect.adapters.targets.patterns import matches_target
from idiolect.adapters.targets.peft_rules import get_default_targets
from idiolect.models.structure import get_text_config

_ATTENTION = re.compile(r"attention|attn", re.IGNORECASE)
_MIXER = re.compile(r"mamba|mixer|ssm", re.IGNORECASE)
_FUSED = re.compile(r"qkv|query_key_value|c_attn|w_pack|in_proj")
"""Names of one module that makes queries, keys and values."""
_INPUT = re.compile(r"(w_?)?(q|query|k|key|v|value|kv|key_value)(_|$)")
_QUERY_OR_VALUE = re.compile(r"(w_?)?(q|query|v|value|kv|key_value)(_(?!b_)|$)")
"""Of a projection in two parts (DeepSeek), the part that reads the layer's input: ``q_a_proj``."""


def find_default_modules(model: Any, linear: Sequence[TargetModule]) -> tuple[TargetModule, ...]:
    """Return those of a model's linear modules that get adapters by default; empty if it has
    neither attention nor a mixer of states."""
    listed = get_default_targets(model)
    if listed is not None:
        found = tuple(module for module in linear if matches_target(listed, module.path))
        if found:
            return found
    places = _find_places(model, linear)
    attention = [m for m in linear if places[m.path][0] == "attention"]
    chosen = (
        [m for m in attention if _FUSED.search(places[m.path][1])]
        + [m for m in attention if _QUERY_OR_VALUE.match(places[m.path][1])]
        or attention
        or [m for m in linear if places[m.path][0] == "mixer" and m.name == "in_proj"]
    )
    return tuple(module for module in linear if module in chosen)


def find_wide_modules(model: Any, linear: Sequence[TargetModule]) -> tuple[TargetModule, ...]:
    """Return the default modules and those that write to the hidden states: the output projections
    of attention and of the MLP. On Llama: q_proj, v_proj, o_proj and down_proj."""
    default, places = find_default_modules(model, linear), _find_places(model, linear)
    width = get_text_config(model).hidden_size

    def writes_hidden(module: TargetModule) -> bool:
        kind, name = places[module.path]
        if kind == "attention":
            reads = _FUSED.search(name) or _INPUT.match(name)
            return module.outputs == width and not reads
        return module.outputs == width != module.inputs

    return tuple(module for module in linear if module in default or writes_hidden(module))


def _find_places(model: Any, linear: Sequence[TargetModule]) -> dict[str, tuple[str, str]]:
    """Return what ``_find_place`` says of each linear module, by path."""
    # The classes of the modules around a linear module tell its place.
    classes = {path: type(module).__name__ for path, module in model.named_modules()}
    return {module.path: _find_place(module.path, classes) for module in linear}


def _find_place(path: str, classes: dict[str, str]) -> tuple[str, str]:
    """Return the kind of the nearest block around a module, and the module's name in it: the first
    part of the path inside the block."""
    parts = path.split(".")
    for depth in range(len(parts) - 1, 0, -1):
        kind = classes[".".join(parts[:depth])]
        if _ATTENTION.search(kind):
            return "attention", parts[depth].lower()
        if _MIXER.search(kind):
            return "mixer", parts[depth].lower()
    return "", parts[-1]
