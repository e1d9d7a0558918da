"""Reads and writes one adapter as a folder in PEFT's format, which vLLM and llama.cpp can load.

``adapter_config.json`` and ``adapter_model.safetensors`` are PEFT's own files. A ``manifest.json``,
which PEFT ignores, adds the base's identity and checksums. No file names the person. Pickled
weights are never read. ``PeftFormat`` defines the contents of both files for one kind of adapter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from idiolect.adapters.formats.peft_config import show_value
from idiolect.adapters.formats.peft_format import PeftFormat
from idiolect.adapters.formats.peft_lora import LORA_FORMAT
from idiolect.adapters.kinds import config_to_header
from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.protocol import Adapter
from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.models.base import Base
from idiolect.models.folder.model_source import shorten_base_name
from idiolect.storage.files import explain_os_errors, stage_folder
from idiolect.storage.manifest import Manifest

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PICKLED_FILE = "adapter_model.bin"

_MAX_CONFIG_BYTES = 1_000_000
_MAX_HEADER_BYTES = 4_000_000
"""Room for the names and shapes in a weights file."""

PEFT_FORMATS: dict[str, PeftFormat] = {LoraConfig.kind: LORA_FORMAT}
"""The format of each kind of adapter that PEFT supports, by the kind's name."""


def find_format(kind: str) -> PeftFormat:
    """Return a kind's format; raises MismatchError if PEFT does not support the kind."""
    if kind not in PEFT_FORMATS:
        raise MismatchError(
            f"adapters of kind {kind!r} cannot be exported: PEFT does not support them"
        )
    return PEFT_FORMATS[kind]


def save_peft(
    folder: Path,
    adapter: Adapter,
    *,
    base_name: str,
    invocation: Sequence[int] = (),
    about: Mapping[str, Any] | None = None,
    extra: Mapping[str, bytes] | None = None,
    replace: bool = False,
) -> None:
    """Write an adapter in PEFT's format, atomically; equal adapters give equal bytes.

    ``invocation``: the tokens that activate an adapter that acts on answers only
    (``encode_invocation`` of the base's tokenizer); empty for other adapters. ``about``: more
    entries for the manifest. ``extra``: more files, by name. Raises the same errors as
    ``check_destination`` and ``serialize_weights``.
    """
    assert bool(invocation) == (adapter.config.active == "answer")
    check_destination(folder, replace=replace)
    layout, weights = find_format(adapter.config.kind), serialize_weights(adapter)
    settings = config_to_header(layout.sort_config(adapter.config))
    # All files appear at once, so a killed process leaves no partial adapter.
    with stage_folder(folder, replace=replace) as staged:
        (staged / CONFIG_FILE).write_bytes(layout.render_config(adapter, base_name, invocation))
        (staged / WEIGHTS_FILE).write_bytes(weights)
        for name, content in (extra or {}).items():
            (staged / name).write_bytes(content)
        Manifest.from_folder(
            staged,
            kind="adapter",
            base=adapter.base,
            config={"name": base_name, **settings, **(about or {})},
        ).save(staged)


def check_destination(folder: Path, *, replace: bool = False) -> None:
    """Raise UsageError if the folder is not empty; with ``replace``, an adapter in it is
    allowed."""
    # An empty folder is free.
    in_use = folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))
    if in_use and not (replace and (folder / CONFIG_FILE).is_file()):
        raise UsageError(f"{folder}: already exists; name a new folder")


def serialize_weights(adapter: Adapter) -> bytes:
    """Return the bytes of the weights file; raises IntegrityError if a number is not finite."""
    # Never write a broken adapter, whatever produced it.
    for name, tensor in adapter.tensors().items():
        if not torch.isfinite(tensor).all():
            raise IntegrityError(f"adapter {name}: contains a number that is not finite")
    named = find_format(adapter.config.kind).name_tensors(adapter)
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in named.items()}
    return save(tensors, metadata={"format": "pt"})


def load_peft(folder: Path, base: Base) -> Adapter:
    """Read an adapter that Idiolect or PEFT wrote, in fp32 (fp64 if the base is fp64).

    If the config adapts only some layers, the same modules of the other layers get zeros. An
    adapter without a manifest names its base only by a name, which must be the base's. Raises
    MissingError if the folder has no adapter, IntegrityError if it is damaged or pickled,
    MismatchError if it is for another base or of an unsupported kind.
    """
    file = folder / CONFIG_FILE
    if not file.is_file():
        raise MissingError(f"{folder}: no adapter in PEFT's format there (no {CONFIG_FILE})")
    # Adapters of other tools have no manifest; then the shapes and a name are checked.
    is_verified = (folder / Manifest.NAME).is_file()
    if is_verified:
        manifest = Manifest.load(folder, "adapter")
        manifest.require_match(folder, base=base.identity)
    _require_size(file, _MAX_CONFIG_BYTES)
    with explain_os_errors("read", file):
        raw = file.read_bytes()
    layout = _format_of(raw)
    config = layout.parse_config(raw, file)
    if not is_verified:
        _check_base_name(getattr(config, "base_name", ""), base, file)
    # In fp64, of the config's rank on every matrix; the file is read as a whole. For a kind without
    # ranks, the base's own matrices are the bound.
    shapes = [weight.shape for weight in base.model.parameters()]
    rank = getattr(config, "rank", None)
    numbers = sum(math.prod(one) if rank is None else rank * sum(one) for one in shapes)
    tensors = _read_tensors(folder, 8 * numbers + _MAX_HEADER_BYTES)
    return layout.read_adapter(config, tensors, base, folder / WEIGHTS_FILE)


def _check_base_name(name: str, base: Base, file: Path) -> None:
    """Raise MismatchError if an adapter's own name of its base is another name than the base's."""
    known = {shorten_base_name(one) for one in (base.name, base.source) if one}
    if name and shorten_base_name(name) not in known:
        raise MismatchError(
            f"{file}: made for the base {show_value(name)}, and this base is {base.name}; if that "
            "is the same base under another name, write this name as base_model_name_or_path"
        )


def _require_size(file: Path, limit: int) -> None:
    """Raise IntegrityError if a file is larger than an adapter's can be, before it is read."""
    with explain_os_errors("read", file):
        size = file.stat().st_size
    if size > limit:
        raise IntegrityError(
            f"{file}: has {size:,} bytes, an adapter of this size and base has at most {limit:,}"
        )


def _format_of(raw: bytes) -> PeftFormat:
    """Return the format that a config names, or LoRA's, whose parser rejects other kinds."""
    try:
        fields: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return LORA_FORMAT
    named = cast("Mapping[str, Any]", fields).get("peft_type") if isinstance(fields, dict) else None
    known = (layout for layout in PEFT_FORMATS.values() if layout.peft_type == named)
    return next(known, LORA_FORMAT)


def _read_tensors(folder: Path, limit: int) -> dict[str, Tensor]:
    """Return all tensors of the weights file by name; it has at most ``limit`` bytes."""
    file = folder / WEIGHTS_FILE
    if not file.is_file():
        if (folder / PICKLED_FILE).exists():
            raise IntegrityError(
                f"{folder / PICKLED_FILE}: pickled weights can run code, so they are never loaded; "
                "save the adapter as safetensors on a machine where you trust it"
            )
        raise MissingError(
            f"{folder}: has no {WEIGHTS_FILE}; the adapter is incomplete, so copy it again"
        )
    _require_size(file, limit)
    # A damaged safetensors file raises many types of errors.
    with explain_os_errors("read", file):
        data = file.read_bytes()
    try:
        return load(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise IntegrityError(
            f"{file}: truncated or damaged ({error}); restore it from a copy"
        ) from error
