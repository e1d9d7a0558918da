"""The quantizations of a base, and what transformers needs to load each of them.

Only the linear layers of the decoder are quantized; embeddings, norms and the output head keep the
dtype. bitsandbytes (``nf4``, ``int8``) and torchao (``torchao-int8``) are packages of the extra
``quantize``, imported only when one of these is used.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from transformers import BitsAndBytesConfig, TorchAoConfig

from idiolect.errors import MismatchError, UsageError

QuantizeName = Literal["none", "nf4", "int8", "torchao-int8"]
"""``none`` takes the weights as they are in the folder, quantized ones, too."""

QUANTIZATION_FIELD = "quantization_config"
"""The field of a ``config.json`` that says how the weights are quantized."""
BITSANDBYTES = "bitsandbytes"
_PACKAGES = {"nf4": BITSANDBYTES, "int8": BITSANDBYTES, "torchao-int8": "torchao"}
_STORED_FIELDS = (
    "load_in_4bit",
    "load_in_8bit",
    "llm_int8_skip_modules",
    "bnb_4bit_quant_type",
    "bnb_4bit_use_double_quant",
    "bnb_4bit_quant_storage",
)
"""What a quantized folder's config may say: how its weights are stored, not how they run."""
_OTHER_METHODS = {
    "auto-round": "AutoRound",
    "awq": "AWQ",
    "bitnet": "BitNet",
    "compressed-tensors": "compressed-tensors",
    "fbgemm_fp8": "FBGEMM fp8",
    "fp8": "fp8",
    "gguf": "GGUF",
    "gptq": "GPTQ",
    "hqq": "HQQ",
    "modelopt": "ModelOpt",
    "mxfp4": "MXFP4",
    "quanto": "Quanto",
    "torchao": "torchao",
}
"""Names that people know, by the name in a config."""


@dataclass(frozen=True, kw_only=True)
class LoadPlan:
    """How a base's weights are loaded."""

    name: str
    """``none``, one of ``QuantizeName``, or ``fp4`` for folders that hold that."""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Arguments of transformers' ``from_pretrained``."""


def find_stored_quantization(fields: Mapping[str, Any], file: Path) -> dict[str, Any] | None:
    """Return how a folder's weights are quantized, from the fields of its ``config.json``; None if
    they are not.

    Raises MismatchError if it is not bitsandbytes that quantized them.
    """
    stored = fields.get(QUANTIZATION_FIELD)
    if not stored:
        return None
    if not isinstance(stored, dict):
        raise MismatchError(f"{file}: {QUANTIZATION_FIELD} is not an object; copy the model again")
    in_bits = stored.get("load_in_4bit") or stored.get("load_in_8bit")
    method = str(stored.get("quant_method", BITSANDBYTES if in_bits else "an unknown method"))[:40]
    if method != BITSANDBYTES or not in_bits:
        raise MismatchError(
            f"{file}: the weights are quantized by {_OTHER_METHODS.get(method, method)}, on which "
            "adapters are not trained here; use the model's own weights (safetensors in float32 or "
            "bfloat16), with --quantize nf4 or int8 if memory is short, or a copy quantized by "
            "bitsandbytes"
        )
    return {name: stored[name] for name in _STORED_FIELDS if name in stored}


def plan_load(
    quantize: QuantizeName,
    stored: Mapping[str, Any] | None,
    folder: Path,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> LoadPlan:
    """Return how to load a folder's weights.

    Args:
        quantize: the quantization that the settings name.
        stored: as ``find_stored_quantization`` returns it.
        folder: the model's folder, for messages.
        dtype: the dtype in which the layers compute.
        device: the device that holds the weights.

    Raises:
        UsageError: if the name is unknown, its package is not installed, it does not run in this
            dtype, or the folder's weights are quantized otherwise.
    """
    name: str = quantize
    if stored is not None:
        # fp4 is bitsandbytes' default, and transformers' for a config that does not say.
        kind = str(stored.get("bnb_4bit_quant_type", "fp4"))
        name = "int8" if stored.get("load_in_8bit") else kind
    if quantize not in get_args(QuantizeName) and (stored is None or quantize != name):
        known = ", ".join(get_args(QuantizeName))
        raise UsageError(f"quantize {quantize!r} is not one of {known}")
    if stored is not None and quantize not in ("none", name):
        raise UsageError(
            f"quantize {quantize!r}: the weights in {folder} are quantized already ({name}); "
            "leave the setting out, or use the model's own weights"
        )
    if name == "none":
        return LoadPlan(name=name)
    package = _PACKAGES.get(name, BITSANDBYTES)
    if importlib.util.find_spec(package) is None:
        raise UsageError(
            f"quantize {name!r} needs the package {package}: pip install 'idiolect[quantize]'"
        )
    # The kernels for 4 bits leave float64 results unwritten.
    if dtype not in (torch.float32, torch.bfloat16):
        raise UsageError(f"quantize {name!r} runs in bfloat16 or float32, not in {dtype}")
    # A device map puts each weight on its device when it is quantized.
    options: dict[str, Any] = {"device_map": {"": device}}
    if stored is None:
        options["quantization_config"] = _make_config(name, dtype)
    return LoadPlan(name=name, options=options)


def _make_config(name: str, dtype: torch.dtype) -> Any:
    """Return transformers' settings of a quantization."""
    if name == "torchao-int8":
        from torchao.quantization import Int8WeightOnlyConfig

        return TorchAoConfig(Int8WeightOnlyConfig())
    if name == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    # As in QLoRA (Dettmers et al., 2023): NF4, with the block sizes quantized as well.
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
