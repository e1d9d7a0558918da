"""Reads the ``config.json`` of a model that others made.

Some of its settings say how to run the model: which attention function (possibly one to download),
whose code, in which dtype. These are this project's to decide, so they are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from transformers import CONFIG_MAPPING, PreTrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from idiolect.errors import IntegrityError, MismatchError
from idiolect.models.folder.folder_forms import CONFIG_FILE
from idiolect.models.folder.load_errors import describe_load_error
from idiolect.models.quantization.kinds import QUANTIZATION_FIELD, find_stored_quantization
from idiolect.storage.files import explain_os_errors

MAX_CONFIG_BYTES = 1_000_000
MAX_FILE_BYTES = 128_000_000
"""Largest file besides the weights: the largest tokenizers have about 35 MB."""
SETTINGS_SUFFIXES = (".json", ".jinja", ".txt", ".model")
_LEFT_OUT = {"auto_map", "dtype", "torch_dtype"}
_OTHER_HEADS = (
    "ForMaskedLM",
    "ForPreTraining",
    "ForNextSentencePrediction",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
    "ForImageClassification",
    "ForCTC",
)
_LEFT_OUT_SUFFIXES = ("_implementation", "_implementation_internal", "_implementation_autoset")
_SPECIAL_FLOATS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan}
"""JSON has no such numbers; transformers writes them as ``{"__float__": "Infinity"}``."""


def list_settings_files(folder: Path) -> list[Path]:
    """Return the files of a model besides its weights, sorted. Raises IntegrityError if one is too
    large to be what it should be."""
    found = sorted(path for path in folder.iterdir() if path.suffix in SETTINGS_SUFFIXES)
    for path in found:
        size = path.stat().st_size if path.is_file() else 0
        small = path.name == CONFIG_FILE or path.suffix == ".jinja"
        limit = MAX_CONFIG_BYTES if small else MAX_FILE_BYTES
        if size > limit:
            raise IntegrityError(f"{path}: has {size:,} bytes; at most {limit:,} are read")
    return found


def load_model_config(folder: Path) -> PreTrainedConfig:
    """Return the config without the settings that say how to run the model.

    Raises MismatchError if it is not the config of a model that transformers knows, or if the
    weights are quantized by something else than bitsandbytes.
    """
    file = folder / CONFIG_FILE
    with explain_os_errors("read", file):
        raw = file.read_bytes()
    try:
        fields: Any = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise MismatchError(f"{file}: not valid JSON ({error}); copy the model again") from error
    if not isinstance(fields, dict):
        raise MismatchError(f"{file}: expected an object; copy the model again")
    kind = str(cast("Mapping[str, Any]", fields).get("model_type"))
    if kind not in CONFIG_MAPPING:
        why = (
            "needs code that comes with it, which is never run"
            if "auto_map" in fields
            else f"names the model type {kind[:40]!r}, which transformers does not know"
        )
        raise MismatchError(f"{file}: {why}; use another model")
    stored = find_stored_quantization(cast("Mapping[str, Any]", fields), file)
    fields.pop(QUANTIZATION_FIELD, None)
    try:
        config = CONFIG_MAPPING[kind].from_dict(_leave_out(fields))
    except Exception as error:  # the errors of transformers' configs share no base class
        raise MismatchError(
            f"{file}: not a valid config: {describe_load_error(error)}; copy the model again"
        ) from error
    if stored is not None:
        setattr(config, QUANTIZATION_FIELD, stored)
    return config


def require_causal_family(config: PreTrainedConfig, folder: Path) -> None:
    """Raise MismatchError if a config is of a family that does not continue a text: an encoder, an
    encoder with a decoder, or a model with another head than the one for the next token."""
    names = list(config.architectures or ())
    types = {config.model_type, config.get_text_config(decoder=True).model_type}
    shown = f"{folder / CONFIG_FILE}: names {names[0] if names else repr(config.model_type)}"
    advice = "use a model that continues a text (its architecture ends with ForCausalLM)"
    if getattr(config, "is_encoder_decoder", False):
        raise MismatchError(
            f"{shown}, an encoder with a decoder, which is no causal language model; {advice}"
        )
    other_head = bool(names) and all(name.endswith(_OTHER_HEADS) for name in names)
    if other_head or not types & MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys():
        raise MismatchError(f"{shown}, which is no causal language model; {advice}")


def _leave_out(value: Any) -> Any:
    """Return the JSON value without the settings that are not obeyed, at any depth, and with its
    special floats."""
    if isinstance(value, list):
        return [_leave_out(one) for one in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    special = cast("dict[str, Any]", value).get("__float__")
    if isinstance(special, str) and special in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[special]
    return {
        name: _leave_out(one)
        for name, one in cast("dict[str, Any]", value).items()
        if name not in _LEFT_OUT and not name.endswith(_LEFT_OUT_SUFFIXES)
    }
