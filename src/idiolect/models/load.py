"""Loads frozen base models: the bundled default, a local folder, or a Hugging Face hub id."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    PreTrainedConfig,
)
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
)

from idiolect.errors import IntegrityError, MismatchError
from idiolect.events import Listener, null_listener
from idiolect.models import attention
from idiolect.models.base import Base, hash_tokenizer
from idiolect.models.device import DtypeName, pick_device, pick_dtype
from idiolect.models.folder.bundled import BUNDLED_NAME, prepare_bundled_model
from idiolect.models.folder.folder_forms import require_tokenizer_files, require_weights
from idiolect.models.folder.foreign_config import (
    list_settings_files,
    load_model_config,
    require_causal_family,
)
from idiolect.models.folder.load_errors import describe_load_error
from idiolect.models.folder.model_source import DEFAULT, find_model_folder, normalize_source
from idiolect.models.folder.probe import check_foreign_model
from idiolect.models.folder.tokenizer_checks import check_tokenizer
from idiolect.models.folder.weights import hash_weights, silence_transformers
from idiolect.models.proof.verdict import find_ways
from idiolect.models.quantization.kinds import QUANTIZATION_FIELD, QuantizeName, plan_load
from idiolect.models.quantization.modules import prepare_layers
from idiolect.models.structure import find_decoder
from idiolect.storage.manifest import Manifest

_LOADING = threading.Lock()
"""Held while a model is loaded and tried: meanwhile its dtype is the default of all threads."""


def load_base(
    source: str | Path = DEFAULT,
    *,
    dtype: DtypeName = "auto",
    device: str = "auto",
    quantize: QuantizeName = "none",
    listener: Listener = null_listener,
) -> Base:
    """Load a base model: ``"default"``, a local folder, or ``hub:`` and a hub id.

    When a base is first loaded, it is proven which fast ways of running it are right; the listener
    gets a message if some are not. Raises MissingError if it does not exist; IntegrityError if its
    weights are not safetensors, are incomplete, or do not match its manifest; MismatchError if it
    is not a causal language model, does not run in the dtype, or its tokenizer does not fit it;
    UsageError if it cannot be quantized so.
    """
    # Resolve everything that can fail cheaply before loading weights.
    where = pick_device(device)
    kind = pick_dtype(dtype, where)
    found = check_base_folder(source)
    folder, config, manifest = found.folder, found.config, found.manifest
    plan = plan_load(
        quantize, getattr(config, QUANTIZATION_FIELD, None), folder, dtype=kind, device=where
    )
    tokenizer = _load_pretrained(AutoTokenizer, folder)
    check_tokenizer(tokenizer, config, folder)
    with _LOADING:
        model, report = _load_pretrained(
            found.model_class,
            folder,
            config=config,
            dtype=kind,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below with their names
            **plan.options,
        )
        # Transformers initializes missing weights at random; that must never happen silently.
        for key in sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"]))):
            raise IntegrityError(
                f"{folder}: the weights lack {key}, or its shape differs from the config; copy the "
                "model again"
            )
        model.requires_grad_(False).eval().to(where)
        prepare_layers(model, kind)
        base = Base(
            name=found.name,
            identity=(manifest.base if manifest else None) or hash_weights(folder),
            tokenizer_identity=hash_tokenizer(tokenizer),
            model=model,
            tokenizer=tokenizer,
            source=normalize_source(source),
            folder=folder,
            quantization=plan.name,
        )
        base = replace(base, ways=find_ways(base, listener))
    if base.ways.attention and where.type == "cpu":
        # On CPUs the backward of fused attention takes a fifth of a step at short lengths.
        find_decoder(model).config._attn_implementation = attention.NAME
    return base


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFolder:
    """The folder of a base that is worth loading."""

    folder: Path
    name: str
    config: PreTrainedConfig
    manifest: Manifest | None
    """None for a base that this project did not write."""
    model_class: Any
    """The class of transformers that loads the model."""
    numbers: int
    """How many numbers its weights and tables have; 0 if that is not known."""


def check_base_folder(source: str | Path) -> BaseFolder:
    """Check all that can be known of a base without its weights; raises the errors of
    ``load_base``."""
    if source == DEFAULT:
        folder, name = prepare_bundled_model(), BUNDLED_NAME
    else:
        folder, name = find_model_folder(source), Path(str(source)).name
    manifest = _read_manifest(folder)
    # The bundled model is known; all others may be foreign.
    if source != DEFAULT:
        require_weights(folder)
        require_tokenizer_files(folder)
        list_settings_files(folder)  # rejects files that are too large to read
    config = load_model_config(folder)
    require_causal_family(config, folder)
    model_class = _pick_model_class(config)
    known = source == DEFAULT
    return BaseFolder(
        folder=folder,
        name=str(manifest.config.get("name", name)) if manifest else name,
        config=config,
        manifest=manifest,
        model_class=model_class,
        numbers=0 if known else check_foreign_model(folder, model_class.__name__),
    )


def _pick_model_class(config: PreTrainedConfig) -> Any:
    """Return the class that loads a model: the one for text, or the one for images and text if a
    family has no other."""
    lacks_text_class = type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING
    if lacks_text_class and type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoModelForImageTextToText
    return AutoModelForCausalLM


def _read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of a base that this project wrote, and verify its files; None for other
    folders."""
    if not (folder / "manifest.json").is_file():
        return None
    return Manifest.load(folder, "base")


def _load_pretrained(kind: Any, folder: Path, **options: Any) -> Any:
    """Call ``from_pretrained`` on a local folder, without messages, remote code or network
    access."""
    try:
        with silence_transformers():
            return kind.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False, **options
            )
    except SafetensorError as error:
        raise IntegrityError(
            f"{folder}: its weights are truncated or damaged ({error}); copy the model again"
        ) from error
    except Exception as error:  # transformers' errors for broken folders share no base class
        what = "its tokenizer" if kind is AutoTokenizer else "as a causal language model, it"
        raise MismatchError(
            f"{folder}: {what} cannot be loaded: {describe_load_error(error)}"
        ) from error
