"""Reads and writes PEFT's ``adapter_config.json`` for LoRA.

It applies PEFT's rules for which modules a config targets; it does not handle tensors. A setting
that would change the adapter's output and that is not supported raises an error; it is never
ignored. The file may be foreign, so every size in it has a limit, and errors show values shortened.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from idiolect.adapters.formats.module_patterns import ModulePattern, parse_module_pattern
from idiolect.adapters.lora import LoraConfig, parse_layer_number
from idiolect.adapters.targets.patterns import ALL_LINEAR, matches_target
from idiolect.errors import IntegrityError, MismatchError

T = TypeVar("T")

MAX_RANK = 4_096
MAX_ALPHA = 1e6
MAX_LIST_ENTRIES = 10_000
"""Largest number of module names, layers or tokens."""
_MAX_SHOWN = 60
_MODULE_NAME = re.compile(r"[\w.-]{1,200}", re.ASCII)
_SUPPORTED_FIELDS = {
    *("r", "lora_alpha", "lora_dropout", "use_rslora", "bias"),
    *("target_modules", "exclude_modules", "layers_to_transform", "alora_invocation_tokens"),
    *("peft_type", "task_type", "init_lora_weights"),
}
# These settings do not change the output of a trained adapter. PEFT corrects fan_in_fan_out by the
# class of each module.
_IGNORED_FIELDS = {
    *("auto_mapping", "base_model_name_or_path", "ensure_weight_tying", "eva_config"),
    *("fan_in_fan_out", "inference_mode", "megatron_core", "peft_version", "qalora_group_size"),
    *("revision", "runtime_config"),
}
# Other initializations change the base's weights, so A and B would not be the whole adapter.
_SUPPORTED_INITS = (True, False, None, "gaussian", "eva", "orthogonal")


ModuleNames = ModulePattern | tuple[str, ...]
"""Module names or path endings, or a pattern for the whole path. ``(ALL_LINEAR,)`` means all linear
modules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeftLoraConfig:
    """The settings of a PEFT config that describe a LoRA adapter; the scale is ``alpha / rank``."""

    rank: int
    alpha: float
    dropout: float
    targets: ModuleNames
    excluded_modules: ModuleNames
    layers: tuple[int, ...]
    """Indices of the adapted layers; empty for all layers."""
    invocation: tuple[int, ...] = ()
    """The adapter acts from the last occurrence of these tokens on; empty for all tokens."""
    base_name: str = ""
    """The base that the adapter was made for, as its maker named it: a hub id, a folder, or
    nothing."""

    def targets_module(self, path: str) -> bool:
        """Whether the linear module at this path gets an adapter, by PEFT's rules."""
        # Exclusions win over targets.
        if _matches_module(self.excluded_modules, path):
            return False
        if self.targets == (ALL_LINEAR,):
            return True
        if not _matches_module(self.targets, path):
            return False
        return not self.layers or parse_layer_number(path) in self.layers


def render_config(
    config: LoraConfig,
    base_name: str,
    *,
    layers: Sequence[int] | None = None,
    invocation: Sequence[int] | None = None,
) -> bytes:
    """Return the file as PEFT would write it; equal configs give equal bytes.

    ``layers`` and ``invocation``: as in ``PeftLoraConfig``; ``None`` for all layers and all tokens.
    """
    # PEFT writes an integral alpha as an integer. All fields are written, so that every version of
    # PEFT reads the same settings.
    is_whole_alpha = float(config.alpha).is_integer()
    fields = {
        "alora_invocation_tokens": None if invocation is None else list(invocation),
        "alpha_pattern": {},
        "auto_mapping": None,
        "base_model_name_or_path": base_name,
        "bias": "none",
        "fan_in_fan_out": bool(config.fan_in_fan_out),
        "inference_mode": True,
        "init_lora_weights": True,
        "layers_pattern": None,
        "layers_to_transform": None if layers is None else list(layers),
        "lora_alpha": int(config.alpha) if is_whole_alpha else config.alpha,
        "lora_dropout": config.dropout,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": config.rank,
        "rank_pattern": {},
        "revision": None,
        "target_modules": sorted(config.targets),
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }
    return (json.dumps(fields, indent=2, sort_keys=True) + "\n").encode()


def parse_config(data: bytes, where: object) -> PeftLoraConfig:
    """Parse a config. Raises IntegrityError if it is malformed, MismatchError if a setting is not
    supported; both name the setting."""
    try:
        # Deeply nested JSON exhausts the recursion limit.
        raw: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{where}: not valid JSON: {error}") from error
    if not isinstance(raw, Mapping):
        raise IntegrityError(f"{where}: expected an object; export the adapter again")
    fields = cast("Mapping[str, Any]", raw)
    _refuse_unsupported(fields, where)
    # The defaults are PEFT's own.
    rank = _read_number(fields, "r", 8, where)
    alpha = _read_number(fields, "lora_alpha", 8, where)
    dropout = _read_number(fields, "lora_dropout", 0, where)
    whole = 1 <= rank <= MAX_RANK and rank == int(rank)
    if not (whole and 0 < alpha <= MAX_ALPHA and 0 <= dropout < 1):
        raise IntegrityError(
            f"{where}: r {rank:g}, lora_alpha {alpha:g}, lora_dropout {dropout:g} are not valid; r "
            f"must be an integer from 1 to {MAX_RANK}, lora_alpha above 0 and at most "
            f"{MAX_ALPHA:,.0f}, lora_dropout in [0, 1)"
        )
    targets = _read_module_names(fields, "target_modules", where)
    if not targets:
        raise IntegrityError(f"{where}: target_modules is empty")
    # Rank-stabilized LoRA scales by alpha / sqrt(r); a larger alpha gives the same scale.
    return PeftLoraConfig(
        rank=int(rank),
        alpha=alpha * math.sqrt(rank) if fields.get("use_rslora") else alpha,
        dropout=dropout,
        targets=targets,
        excluded_modules=_read_module_names(fields, "exclude_modules", where),
        layers=_read_integers(fields, "layers_to_transform", where),
        invocation=_read_integers(fields, "alora_invocation_tokens", where),
        base_name=str(fields.get("base_model_name_or_path") or ""),
    )


def _refuse_unsupported(fields: Mapping[str, Any], where: object) -> None:
    """Raise MismatchError if a setting makes the adapter something other than plain LoRA."""
    expected = {
        "peft_type": ("LORA",),
        "task_type": ("CAUSAL_LM", None),
        "bias": ("none", None),
        "use_rslora": (True, False, None),
        "init_lora_weights": _SUPPORTED_INITS,
    }
    # Settings that are known, but only with these values.
    for name, known in expected.items():
        value = fields.get(name)
        if not any(value is k or (isinstance(k, str) and value == k) for k in known):
            raise MismatchError(
                f"{where}: {name} {show_value(value)} is not supported; only plain LoRA on a "
                f"causal language model is ({name}: {', '.join(map(show_value, known))})"
            )
    # Unknown settings, such as those of later PEFT versions, must be off.
    for name, value in fields.items():
        if name not in _SUPPORTED_FIELDS | _IGNORED_FIELDS and value not in (
            None,
            False,
            "",
            [],
            {},
        ):
            raise MismatchError(
                f"{where}: {show_value(name)} {show_value(value)} is not supported; export the "
                "adapter as plain LoRA"
            )


def show_value(value: object) -> str:
    """Return a value of the file as it is written in JSON, shortened, for an error message."""
    text = json.dumps(value, default=str)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def _read_number(fields: Mapping[str, Any], name: str, default: float, where: object) -> float:
    value = fields.get(name, default)
    # Python reads integers of any size; a float has a largest one.
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not abs(value) <= 1e300:
        raise IntegrityError(f"{where}: {name}: expected a number, got {show_value(value)}")
    return float(value)


def _read_integers(fields: Mapping[str, Any], name: str, where: object) -> tuple[int, ...]:
    value: Any = fields.get(name)
    value = () if value is None else (value,) if isinstance(value, int) else value
    if not isinstance(value, list | tuple) or not all(type(n) is int for n in value):
        raise IntegrityError(f"{where}: {name}: expected integers, got {show_value(value)}")
    return tuple(_limit_entries(cast("Sequence[int]", value), name, where))


def _read_module_names(fields: Mapping[str, Any], name: str, where: object) -> ModuleNames:
    """Return module names, or the pattern that a single string is."""
    value: Any = fields.get(name) or ()
    if value == ALL_LINEAR:
        return (ALL_LINEAR,)
    if isinstance(value, str):
        pattern = parse_module_pattern(value)
        if pattern is None:
            raise IntegrityError(
                f"{where}: {name} {show_value(value)}: this form of a regular expression is not "
                "supported; list the names of the modules, or write names, .* and groups such as "
                "(q_proj|v_proj)"
            )
        return pattern
    if not isinstance(value, list | tuple) or not all(
        isinstance(n, str) and _MODULE_NAME.fullmatch(n) for n in cast("Sequence[object]", value)
    ):
        raise IntegrityError(
            f"{where}: {name}: expected names of modules or one pattern, got {show_value(value)}"
        )
    return tuple(_limit_entries(cast("Sequence[str]", value), name, where))


def _limit_entries(entries: Sequence[T], name: str, where: object) -> Sequence[T]:
    if len(entries) > MAX_LIST_ENTRIES:
        raise IntegrityError(
            f"{where}: {name} has {len(entries):,} entries; at most {MAX_LIST_ENTRIES:,} are read"
        )
    return entries


def _matches_module(names: ModuleNames, path: str) -> bool:
    if isinstance(names, ModulePattern):
        return names.matches_path(path)
    return matches_target(names, path)
