"""Reads and writes PEFT's ``adapter_config.json`` for LoRA.

It applies PEFT's rules for which modules a config targets; it does not handle tensors. A setting
that would change the adapter's output and that is not supported raises an error; it is never
ignored.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from idiolect.adapters.lora import LoraConfig, parse_layer_number
from idiolect.errors import IntegrityError, MismatchError

ALL_LINEAR = "all-linear"
_SUPPORTED_FIELDS = {
    *("r", "lora_alpha", "lora_dropout", "use_rslora", "bias", "fan_in_fan_out"),
    *("target_modules", "exclude_modules", "layers_to_transform", "alora_invocation_tokens"),
    *("peft_type", "task_type", "init_lora_weights"),
}
# These settings do not change the output of a trained adapter.
_IGNORED_FIELDS = {
    *("auto_mapping", "base_model_name_or_path", "ensure_weight_tying", "eva_config"),
    *("inference_mode", "megatron_core", "peft_version", "qalora_group_size"),
    *("revision", "runtime_config"),
}
# Other initializations change the base's weights, so A and B would not be the whole adapter.
_SUPPORTED_INITS = (True, False, None, "gaussian", "eva", "orthogonal")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeftLoraConfig:
    """The settings of a PEFT config that describe a LoRA adapter; the scale is ``alpha / rank``."""

    rank: int
    alpha: float
    dropout: float
    targets: str | tuple[str, ...]
    """Module names or path endings; a single string is a regular expression for the whole path."""
    excluded_modules: str | tuple[str, ...]
    layers: tuple[int, ...]
    """Indices of the adapted layers; empty for all layers."""
    invocation: tuple[int, ...] = ()
    """The adapter acts from the last occurrence of these tokens on; empty for all tokens."""

    def targets_module(self, path: str) -> bool:
        """Whether the linear module at this path gets an adapter, by PEFT's rules."""
        # Exclusions win over targets.
        if _matches_module(self.excluded_modules, path):
            return False
        if self.targets == ALL_LINEAR:
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
        "fan_in_fan_out": False,
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
    if rank < 1 or rank != int(rank) or alpha <= 0 or not 0 <= dropout < 1:
        raise IntegrityError(
            f"{where}: r {rank}, lora_alpha {alpha}, lora_dropout {dropout} are not valid; r must "
            "be an integer of at least 1, lora_alpha above 0, lora_dropout in [0, 1)"
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
    )


def _refuse_unsupported(fields: Mapping[str, Any], where: object) -> None:
    """Raise MismatchError if a setting makes the adapter something other than plain LoRA."""
    expected = {
        "peft_type": ("LORA",),
        "task_type": ("CAUSAL_LM", None),
        "bias": ("none", None),
        "fan_in_fan_out": (False, None),
        "use_rslora": (True, False, None),
        "init_lora_weights": _SUPPORTED_INITS,
    }
    # Settings that are known, but only with these values.
    for name, known in expected.items():
        value = fields.get(name)
        if not any(value is k or (isinstance(k, str) and value == k) for k in known):
            raise MismatchError(
                f"{where}: {name} {value!r} is not supported; only plain LoRA on a causal "
                f"language model is ({name}: {', '.join(map(repr, known))})"
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
                f"{where}: {name} {value!r} is not supported; export the adapter as plain LoRA"
            )


def _read_number(fields: Mapping[str, Any], name: str, default: float, where: object) -> float:
    value = fields.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise IntegrityError(f"{where}: {name}: expected a number, got {value!r}")
    return float(value)


def _read_integers(fields: Mapping[str, Any], name: str, where: object) -> tuple[int, ...]:
    value: Any = fields.get(name)
    value = () if value is None else (value,) if isinstance(value, int) else value
    if not isinstance(value, Sequence) or not all(type(n) is int for n in value):
        raise IntegrityError(f"{where}: {name}: expected integers, got {value!r}")
    return tuple(cast("Sequence[int]", value))


def _read_module_names(
    fields: Mapping[str, Any], name: str, where: object
) -> str | tuple[str, ...]:
    """Return module names, or one string that compiles as a regular expression."""
    # A string is a regular expression, a list holds names or path endings.
    value: Any = fields.get(name) or ()
    if isinstance(value, str):
        try:
            re.compile(value)
        except (re.error, RecursionError, OverflowError) as error:
            raise IntegrityError(
                f"{where}: {name} {value!r} is not a valid regular expression: {error}"
            ) from error
        return value
    if not isinstance(value, Sequence) or not all(isinstance(n, str) for n in value):
        raise IntegrityError(
            f"{where}: {name}: expected names or a regular expression, got {value!r}"
        )
    return tuple(cast("Sequence[str]", value))


def _matches_module(names: str | tuple[str, ...], path: str) -> bool:
    if isinstance(names, str):
        return bool(names) and re.fullmatch(names, path) is not None
    return path in names or any(path.endswith(f".{name}") for name in names)
