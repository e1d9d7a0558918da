"""One sharer's pieces as a file: A and B of the modules they share.

``SHARER.safetensors`` holds per shared site A [R, D] and B [O, R] in fp32; its checksum stands in
the sharer's record. Knows nothing of gates or of the pool.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from idiolect.errors import IntegrityError
from idiolect.pieces.segment import PSEUDONYM
from idiolect.storage import is_working_file, sha256_file, write_atomic

Pair = tuple[Tensor, Tensor]
"""A [R, D] and B [O, R]."""


def sharer_file(folder: Path, sharer: str) -> Path:
    """Where a sharer's pieces stand."""
    return folder / f"{sharer}.safetensors"


def write_pieces(folder: Path, sharer: str, pairs: Mapping[str, Pair], *, base: str) -> str:
    """Write a sharer's pieces; gives the SHA-256 of the file."""
    tensors = {
        f"{path}.lora_{letter}": tensor.detach().cpu().to(torch.float32).contiguous().clone()
        for path, pair in pairs.items()
        for letter, tensor in zip("AB", pair, strict=True)
    }
    target = sharer_file(folder, sharer)
    write_atomic(target, save(tensors, metadata={"format": "pt", "base": base}))
    return sha256_file(target)


def check_pieces(path: Path, sha256: str) -> None:
    """Raise IntegrityError where the file is missing or changed."""
    if not path.is_file() or sha256_file(path) != sha256:
        raise IntegrityError(
            f"{path}: missing or changed after it was written; restore it from a copy, or withdraw "
            f"sharer {path.stem}"
        )


def read_pieces(path: Path, sites: Collection[str]) -> dict[str, Pair]:
    """A and B of some shared sites; raises IntegrityError."""
    try:
        with safe_open(path, framework="pt") as file:
            return {
                site: (file.get_tensor(f"{site}.lora_A"), file.get_tensor(f"{site}.lora_B"))
                for site in sites
            }
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{path}: not a readable file of pieces ({error})") from error


def sharers_with_files(folder: Path) -> list[str]:
    """Whose pieces lie in a folder; raises IntegrityError for files that do not belong there."""
    out: list[str] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_working_file(path.name):
            continue
        if path.suffix != ".safetensors" or not PSEUDONYM.fullmatch(path.stem):
            raise IntegrityError(f"{path}: a foreign file in a pool; take it out")
        out.append(path.stem)
    return out
