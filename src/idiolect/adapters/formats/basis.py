"""A basis for private training on disk: a mean adapter in PEFT's format, with its directions.

``directions.safetensors`` lies next to PEFT's files, which other tools ignore. The folder also
works as an initial adapter (``personalize --start``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from idiolect.adapters.arithmetic.directions import AdapterBasis
from idiolect.adapters.formats.peft import load_peft, save_peft
from idiolect.adapters.kinds import config_from_header
from idiolect.adapters.lora import LoraConfig, require_lora, require_lora_config
from idiolect.errors import IntegrityError, UsageError
from idiolect.models.base import Base
from idiolect.storage.files import explain_os_errors, sha256_file
from idiolect.storage.manifest import Manifest

DIRECTIONS_FILE = "directions.safetensors"
_TENSOR_NAME = "directions"


def save_basis(
    folder: Path,
    basis: AdapterBasis,
    *,
    base_name: str,
    invocation: Sequence[int] = (),
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write a basis, atomically; raises the same errors as ``save_peft``."""
    save_peft(
        folder,
        basis.mean,
        base_name=base_name,
        invocation=invocation,
        about={"directions": basis.count, **(about or {})},
        extra={DIRECTIONS_FILE: save({_TENSOR_NAME: basis.directions.contiguous()})},
    )


def load_basis(folder: Path, base: Base) -> AdapterBasis:
    """Read a basis; raises the same errors as ``load_peft``, and UsageError if the folder has no
    directions."""
    hash_directions(folder)
    mean = require_lora(load_peft(folder, base))
    # PEFT's config does not say that people share A.
    mean = replace(mean, config=replace(mean.config, shared_a=True))
    return AdapterBasis(mean=mean, directions=_read_directions(folder / DIRECTIONS_FILE))


def read_basis_config(folder: Path) -> LoraConfig:
    """Return the configuration of a basis's adapters, without loading a base.

    Raises MissingError if the folder has no manifest, IntegrityError if it is damaged.
    """
    config = config_from_header(Manifest.load(folder, "adapter").config, where=str(folder))
    # The order of targets and the shared A belong to the adapters, not to PEFT's file.
    return replace(require_lora_config(config), shared_a=True)


def hash_directions(folder: Path) -> str:
    """Return the SHA-256 of a basis's directions; raises UsageError if there are none."""
    if not (folder / DIRECTIONS_FILE).is_file():
        raise UsageError(
            f"{folder}: no basis for private training (no {DIRECTIONS_FILE}); make one from people "
            "who agreed: idiolect mean --directions 4"
        )
    return sha256_file(folder / DIRECTIONS_FILE)


def _read_directions(file: Path) -> Tensor:
    """Return the directions [K, P]."""
    with explain_os_errors("read", file):
        data = file.read_bytes()
    try:
        return load(data)[_TENSOR_NAME]
    except (SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise IntegrityError(
            f"{file}: truncated or damaged ({error}); restore it from a copy"
        ) from error
