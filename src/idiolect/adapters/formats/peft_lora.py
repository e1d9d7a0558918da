"""LoRA in PEFT's format: tensor names, and the modules and layers that a config targets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from idiolect.adapters.formats.module_patterns import ModulePattern
from idiolect.adapters.formats.peft_config import (
    ModuleNames,
    PeftLoraConfig,
    parse_config,
    render_config,
    show_value,
)
from idiolect.adapters.formats.peft_format import PeftFormat
from idiolect.adapters.lora import (
    LoraAdapter,
    LoraConfig,
    num_layers,
    parse_layer_number,
    target_modules,
)
from idiolect.adapters.targets.linear import TargetModule, list_linear_modules
from idiolect.adapters.targets.patterns import ALL_LINEAR
from idiolect.adapters.targets.selection import name_modules
from idiolect.errors import IntegrityError, MismatchError
from idiolect.models.base import Base
from idiolect.prompts.chat_template import encode_invocation

_TENSOR_NAME = re.compile(r"base_model\.model\.(?P<path>.+)\.lora_(?P<half>[AB])\.weight")
_LoraMatrices = Mapping[tuple[str, str], Tensor]
"""Tensors by (module path, "A" or "B")."""


def render_lora(adapter: LoraAdapter, base_name: str, invocation: Sequence[int]) -> bytes:
    """Return the config file of an adapter; ``invocation`` is empty if it acts on all tokens."""
    # PEFT counts layers from 0; it needs the list only if some layers have no adapter.
    layers = sorted({parse_layer_number(path) or 0 for path in adapter.pairs})
    return render_config(
        adapter.config,
        base_name,
        layers=layers if adapter.config.top_layers else None,
        invocation=invocation or None,
    )


def name_lora_tensors(adapter: LoraAdapter) -> dict[str, Tensor]:
    """Return A and B of each module under PEFT's names."""
    return {
        f"base_model.model.{path}.lora_{half}.weight": tensor
        for path, pair in adapter.pairs.items()
        for half, tensor in zip("AB", pair, strict=True)
    }


def sort_lora_config(config: LoraConfig) -> LoraConfig:
    """Return the config with sorted targets."""
    return replace(config, targets=tuple(sorted(config.targets)))


def read_lora(
    config: PeftLoraConfig, tensors: Mapping[str, Tensor], base: Base, where: object
) -> LoraAdapter:
    """Build the adapter from PEFT's tensors; raises the same errors as
    ``PeftFormat.read_adapter``."""
    halves = _read_matrices(tensors, where)
    try:
        return _build_adapter(config, halves, base)
    except (IntegrityError, MismatchError) as error:
        raise type(error)(f"{where}: {error}") from error


def _read_matrices(tensors: Mapping[str, Tensor], file: object) -> _LoraMatrices:
    """Return each tensor by module path and half; raises MismatchError if a tensor is not an A or
    B."""
    halves: dict[tuple[str, str], Tensor] = {}
    for key, tensor in tensors.items():
        match = _TENSOR_NAME.fullmatch(key)
        if match is None:
            raise MismatchError(
                f"{file}: {key!r} is not a LoRA matrix of a linear module; only plain LoRA "
                "adapters are supported"
            )
        if tensor.dtype not in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
            raise MismatchError(f"{file}: {key!r} has an unsupported dtype, {tensor.dtype}")
        halves[match["path"], match["half"]] = tensor
    return halves


def _build_adapter(config: PeftLoraConfig, halves: _LoraMatrices, base: Base) -> LoraAdapter:
    """Build the adapter from its matrices and check them against the config and the base."""
    # Every matrix must belong to a module that the config targets, and have the config's rank.
    named = _find_named_modules(config, base)
    paths = {path for path, _ in halves}
    for path in sorted(paths - set(named)):
        raise MismatchError(
            f"module {path!r} is not in the base {base.name} or not in the config's "
            "target_modules; load the adapter with the base it was trained on"
        )
    for (path, half), tensor in halves.items():
        if tensor.dim() != 2 or tensor.shape["AB".index(half)] != config.rank:
            raise MismatchError(
                f"lora_{half} of {path!r} has shape {tuple(tensor.shape)}, but the config has "
                f"rank {config.rank}; the two files are from different adapters"
            )
    # Express the config in this project's terms: module names and the number of top layers.
    modules = _complete_layers(named, config, base)
    ours = LoraConfig(
        rank=config.rank,
        alpha=config.alpha,
        dropout=config.dropout,
        targets=tuple(sorted(name_modules(base.model, modules))),
        active=_resolve_active_tokens(config, base),
        top_layers=_count_top_layers(config, base),
    ).resolve_for(base.model)
    # Modules that PEFT's config leaves out get zeros, which change nothing.
    wide = torch.float64 if base.dtype == torch.float64 else torch.float32
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    for module in target_modules(base.model, ours):
        if module.path not in named:
            a = torch.zeros(config.rank, module.inputs, dtype=wide)
            pairs[module.path] = (a, torch.zeros(module.outputs, config.rank, dtype=wide))
            continue
        for half in "AB":
            if (module.path, half) not in halves:
                raise IntegrityError(
                    f"lora_{half} of {module.path!r} is missing; copy the adapter again"
                )
        pairs[module.path] = (
            halves[module.path, "A"].to(wide, copy=True),
            halves[module.path, "B"].to(wide, copy=True),
        )
    return LoraAdapter(config=ours, base=base.identity, pairs=pairs).check_matches_base(base)


def _resolve_active_tokens(config: PeftLoraConfig, base: Base) -> Literal["all", "answer"]:
    """The tokens on which the adapter acts; raises MismatchError for other invocation tokens than
    the base's."""
    if not config.invocation:
        return "all"
    # PEFT stores the tokens; here the base's chat template defines them.
    ours = encode_invocation(base.tokenizer)
    if config.invocation != ours:
        raise MismatchError(
            f"alora_invocation_tokens {show_value(config.invocation)} differ from the tokens that "
            f"ask for an answer on the base {base.name}, {list(ours)}; use the base it was made for"
        )
    return "answer"


def _count_top_layers(config: PeftLoraConfig, base: Base) -> int:
    """The number of last layers that the config names; 0 for all layers, or for other layers than
    the last."""
    if not config.layers:
        return 0
    # Only a run of last layers can skip the lower ones in a forward.
    layers, count = num_layers(base.model), len(set(config.layers))
    last = set(range(layers - count, layers))
    return count if count < layers and set(config.layers) == last else 0


def _find_named_modules(config: PeftLoraConfig, base: Base) -> dict[str, TargetModule]:
    """Return the linear modules of the base's text part that the config targets, by path."""
    # The head may be tied to the embeddings, so compare modules, not paths. PEFT leaves it out of
    # all linear modules.
    head = base.model.get_output_embeddings()
    for path, module in base.model.named_modules():
        if module is head and config.targets != (ALL_LINEAR,) and config.targets_module(path):
            raise MismatchError(f"adapters on the output head ({path!r}) are not supported")
    linear = list_linear_modules(base.model)
    named = {module.path: module for module in linear if config.targets_module(module.path)}
    if not named:
        raise MismatchError(
            f"target_modules {_describe_targets(config.targets)} match no linear module of the "
            f"base {base.name}"
        )
    return named


def _complete_layers(
    named: Mapping[str, TargetModule], config: PeftLoraConfig, base: Base
) -> list[TargetModule]:
    """Return the modules that a config targets, and the same modules of the other layers, so that
    the adapter fits into stores of adapters on all layers. Whole paths mean just themselves."""
    if not isinstance(config.targets, ModulePattern) and set(named) <= set(config.targets):
        return list(named.values())
    kinds = {_mask_layer(path) for path in named}
    linear = list_linear_modules(base.model)
    return [module for module in linear if _mask_layer(module.path) in kinds]


def _mask_layer(path: str) -> str:
    return re.sub(r"\.\d+\.", ".*.", path, count=1)


def _describe_targets(targets: ModuleNames) -> str:
    return show_value(targets.text if isinstance(targets, ModulePattern) else targets)


LORA_FORMAT = PeftFormat(
    peft_type="LORA",
    render_config=render_lora,
    name_tensors=name_lora_tensors,
    sort_config=sort_lora_config,
    parse_config=parse_config,
    read_adapter=read_lora,
)
