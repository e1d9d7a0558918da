"""Loads frozen base models: the bundled default, a local folder, or a Hugging Face hub id."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer

from idiolect.errors import IntegrityError, MismatchError
from idiolect.models import attention
from idiolect.models.base import Base, hash_tokenizer
from idiolect.models.device import DtypeName, pick_device, pick_dtype
from idiolect.models.folder.bundled import BUNDLED_NAME, prepare_bundled_model
from idiolect.models.folder.folder_forms import require_tokenizer_files, require_weights
from idiolect.models.folder.foreign_config import load_model_config, require_causal_family
from idiolect.models.folder.load_errors import describe_load_error
from idiolect.models.folder.model_source import DEFAULT, find_model_folder, normalize_source
from idiolect.models.folder.probe import check_foreign_model
from idiolect.models.folder.tokenizer_checks import check_tokenizer
from idiolect.models.folder.weights import hash_weights, silence_transformers
from idiolect.models.logits import compute_logits
from idiolect.models.ways import Ways
from idiolect.storage.manifest import Manifest

_LOADING = threading.Lock()
"""Held while a model is loaded and tried: meanwhile its dtype is the default of all threads."""


def load_base(
    source: str | Path = DEFAULT, *, dtype: DtypeName = "auto", device: str = "auto"
) -> Base:
    """Load a base model: ``"default"``, a local folder, or ``hub:`` and a hub id.

    Raises MissingError if it does not exist; IntegrityError if its weights are not safetensors, are
    incomplete, or do not match its manifest; MismatchError if it is not a causal language model,
    its tokenizer does not fit it, or it computes its logits in an unsupported way.
    """
    # Resolve everything that can fail cheaply before loading weights.
    where = pick_device(device)
    kind = pick_dtype(dtype, where)
    if source == DEFAULT:
        folder, name = prepare_bundled_model(), BUNDLED_NAME
    else:
        folder, name = find_model_folder(source), Path(str(source)).name
    manifest = _read_manifest(folder)
    # The bundled model is known; all others may be foreign.
    if source != DEFAULT:
        require_weights(folder)
        require_tokenizer_files(folder)
        check_foreign_model(folder, "AutoModelForCausalLM")
    config = load_model_config(folder)
    require_causal_family(config, folder)
    tokenizer = _load_pretrained(AutoTokenizer, folder)
    check_tokenizer(tokenizer, config, folder)
    with _LOADING:
        model, report = _load_pretrained(
            AutoModelForCausalLM,
            folder,
            config=config,
            dtype=kind,
            use_safetensors=True,
            attn_implementation="eager" if where.type == "cpu" else "sdpa",
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below with their names
        )
        # Transformers initializes missing weights at random; that must never happen silently.
        for key in sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"]))):
            raise IntegrityError(
                f"{folder}: the weights lack {key}, or its shape differs from the config; copy the "
                "model again"
            )
        model.requires_grad_(False).eval().to(where)
        attends = _probe_model(model, folder)
    if attends and where.type == "cpu":
        # On CPUs the backward of fused attention takes a fifth of a step at short lengths.
        model.set_attn_implementation(attention.NAME)
    return Base(
        name=str(manifest.config.get("name", name)) if manifest else name,
        identity=(manifest.base if manifest else None) or hash_weights(folder),
        tokenizer_identity=hash_tokenizer(tokenizer),
        model=model,
        tokenizer=tokenizer,
        source=normalize_source(source),
        folder=folder,
        ways=Ways(attention=attends),
    )


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


@torch.inference_mode()
def _probe_model(model: Any, folder: Path) -> bool:
    """Run six tokens to check what training relies on; return ``Ways.attention``.

    Logits must be finite and equal those of ``compute_logits``, and no token may change the logits
    of earlier positions.
    """
    # The two rows differ in the last token only, so a causal model gives equal logits before it.
    ids = torch.tensor([[1, 2, 3], [1, 2, 4]], device=model.device)
    try:
        logits = model(input_ids=ids, use_cache=False).logits
        hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
        ours = compute_logits(model, hidden)
    except Exception as error:
        raise MismatchError(
            f"{folder}: does not run as a causal language model: {error}"
        ) from error
    if not torch.isfinite(logits).all():
        raise IntegrityError(f"{folder}: its weights contain a number that is not finite")
    # A tolerance for rounding in bf16.
    tolerance = 0.01 * float(logits.abs().max())
    if (logits[0, :2] - logits[1, :2]).abs().max() > tolerance:
        raise MismatchError(
            f"{folder}: attends to later tokens, so it is not a causal language model"
        )
    if (logits - ours).abs().max() > tolerance:
        raise MismatchError(f"{folder}: computes its logits in a way that is not supported")
    try:
        with attention.use_attention(model):
            same = model(input_ids=ids, use_cache=False).logits
    except Exception:  # the model passes its attention arguments that ours does not support
        return False
    return bool((logits - same).abs().max() <= tolerance)
