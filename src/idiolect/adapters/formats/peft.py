"""One adapter as a folder in PEFT's format: for vLLM, llama.cpp's converter, the hub, and back.

``adapter_config.json`` and ``adapter_model.safetensors`` are what PEFT writes and reads; our
``manifest.json`` beside them, which PEFT does not look at, binds them to a base and holds
checksums. Whose adapter it is stands nowhere. Pickled weights are never read. What the two files
say of one kind of adapter is that kind's ``PeftFormat``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from idiolect.adapters.formats.peft_format import PeftFormat
from idiolect.adapters.formats.peft_lora import LORA_FORMAT
from idiolect.adapters.kinds import config_to_header
from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.protocol import Adapter
from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.models.base import Base
from idiolect.storage.files import explain_os_errors, stage_folder
from idiolect.storage.manifest import Manifest

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PICKLED_FILE = "adapter_model.bin"

PEFT_FORMATS: dict[str, PeftFormat] = {LoraConfig.kind: LORA_FORMAT}
"""The format of each kind of adapter that PEFT knows, by the kind's name."""


def find_format(kind: str) -> PeftFormat:
    """A kind's format; raises MismatchError if PEFT has none for it."""
    if kind not in PEFT_FORMATS:
        raise MismatchError(
            f"adapters of kind {kind!r} cannot be exported: PEFT does not know them"
        )
    return PEFT_FORMATS[kind]


def save_peft(
    folder: Path,
    adapter: Adapter,
    *,
    base_name: str,
    invocation: Sequence[int] = (),
    about: Mapping[str, Any] | None = None,
    replace: bool = False,
) -> None:
    """Write an adapter as PEFT does, whole or not at all; equal adapters give equal bytes.

    ``invocation``: the tokens that call an adapter which acts on answers only (``invocation_of``
    the base's tokenizer); PEFT then needs to be told, too. ``about``: what else its manifest says.
    Raises as ``require_room`` and ``weights_of``.
    """
    assert bool(invocation) == (adapter.config.active == "answer")
    check_destination(folder, replace=replace)
    layout, weights = find_format(adapter.config.kind), serialize_weights(adapter)
    settings = config_to_header(layout.sort_config(adapter.config))
    with stage_folder(folder, replace=replace) as staged:
        (staged / CONFIG_FILE).write_bytes(layout.render_config(adapter, base_name, invocation))
        (staged / WEIGHTS_FILE).write_bytes(weights)
        Manifest.from_folder(
            staged,
            kind="adapter",
            base=adapter.base,
            config={"name": base_name, **settings, **(about or {})},
        ).save(staged)


def check_destination(folder: Path, *, replace: bool = False) -> None:
    """Raise UsageError where the folder holds something already; with ``replace``: something else
    than an adapter."""
    taken = folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))
    if taken and not (replace and (folder / CONFIG_FILE).is_file()):
        raise UsageError(f"{folder}: already exists; name a new folder")


def serialize_weights(adapter: Adapter) -> bytes:
    """The weights file of an adapter; raises IntegrityError where a number is not finite."""
    for name, tensor in adapter.tensors().items():
        if not torch.isfinite(tensor).all():
            raise IntegrityError(f"adapter {name}: holds a number that is not finite")
    named = find_format(adapter.config.kind).name_tensors(adapter)
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in named.items()}
    return save(tensors, metadata={"format": "pt"})


def load_peft(folder: Path, base: Base) -> Adapter:
    """Read an adapter that we or PEFT wrote, in fp32 (fp64 where the base is).

    Modules that its config leaves out although others of the same name carry it (single layers)
    come back as zeros. Raises MissingError where no adapter is, IntegrityError for a damaged one or
    one in pickled form, MismatchError for another base or a kind that is not supported.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise MissingError(f"{folder}: no adapter in PEFT's format there (it has no {CONFIG_FILE})")
    if (folder / Manifest.NAME).is_file():
        manifest = Manifest.load(folder, "adapter")
        manifest.require_match(folder, base=base.identity)
    with explain_os_errors("read", folder / CONFIG_FILE):
        raw = (folder / CONFIG_FILE).read_bytes()
    layout = _format_of(raw)
    config = layout.parse_config(raw, folder / CONFIG_FILE)
    return layout.read_adapter(config, _read_tensors(folder), base, folder / WEIGHTS_FILE)


def _format_of(raw: bytes) -> PeftFormat:
    """The format that a config names; LoRA's, which refuses what it is not, if none is known."""
    try:
        fields: Any = json.loads(raw)
    except (ValueError, RecursionError):
        return LORA_FORMAT
    named = cast("Mapping[str, Any]", fields).get("peft_type") if isinstance(fields, dict) else None
    known = (layout for layout in PEFT_FORMATS.values() if layout.peft_type == named)
    return next(known, LORA_FORMAT)


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the weights file by its name there."""
    file = folder / WEIGHTS_FILE
    if not file.is_file():
        if (folder / PICKLED_FILE).exists():
            raise IntegrityError(
                f"{folder / PICKLED_FILE}: pickled weights are never loaded, they can run code; "
                "save the adapter as safetensors where you trust it"
            )
        raise MissingError(
            f"{folder}: has no {WEIGHTS_FILE}; the adapter is incomplete, copy it again"
        )
    with explain_os_errors("read", file):
        data = file.read_bytes()
    try:
        return load(data)
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise IntegrityError(
            f"{file}: cut off or damaged ({error}); restore it from a copy"
        ) from error
