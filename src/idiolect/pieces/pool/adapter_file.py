"""One sharer's pieces as a file: A and B of each shared module.

``SHARER.safetensors`` holds A [R, D] and B [O, R] in fp32 per shared module. The sharer's record in
the pool stores the checksum of the file. This module does not depend on gates or the pool.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from idiolect.adapters.store.tensor_file import serialize_tensors
from idiolect.errors import IntegrityError
from idiolect.pieces.pool.segment import PSEUDONYM
from idiolect.storage.files import is_working_file, sha256_file, write_atomic
from idiolect.storage.verified import VerifiedFiles

Pair = tuple[Tensor, Tensor]
"""A [R, D] and B [O, R]."""

MAX_OPEN_FILES = 256
"""Maximum number of files kept open; well below the usual limit of a process."""


def get_adapter_path(folder: Path, sharer: str) -> Path:
    """Return the path of a sharer's file of pieces."""
    return folder / f"{sharer}.safetensors"


def write_pieces(folder: Path, sharer: str, pairs: Mapping[str, Pair], *, base: str) -> str:
    """Write a sharer's pieces (module to A and B) and return the SHA-256 of the file."""
    tensors = {
        f"{path}.lora_{letter}": tensor.detach().cpu().to(torch.float32).contiguous().clone()
        for path, pair in pairs.items()
        for letter, tensor in zip("AB", pair, strict=True)
    }
    target = get_adapter_path(folder, sharer)
    write_atomic(target, serialize_tensors(tensors, base=base))
    return sha256_file(target)


class AdapterFiles:
    """Reads sharers' files. Each version of a file is verified once, then stays open.

    Opening a file costs as much as reading forty pieces, so the ``MAX_OPEN_FILES`` most recently
    used files stay open.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._verified = VerifiedFiles()
        self._open: OrderedDict[str, Any] = OrderedDict()

    def read_pieces(self, sharer: str, sites: Collection[str], *, sha256: str) -> dict[str, Pair]:
        """Return A and B by module for some shared modules.

        Raises IntegrityError if the file is missing or its checksum differs.
        """
        path = get_adapter_path(self.folder, sharer)

        def verify_file() -> None:
            self._open.pop(sharer, None)  # it may map another version
            if not path.is_file() or sha256_file(path) != sha256:
                raise IntegrityError(
                    f"{path}: missing or changed after it was written; restore it from a copy, or "
                    f"withdraw sharer {sharer}"
                )

        def read_tensors() -> dict[str, Pair]:
            file = self._open_file(sharer, path)
            # Copies: the file's own tensors are memory-mapped, and would change with the file.
            return {
                site: (
                    file.get_tensor(f"{site}.lora_A").clone(),
                    file.get_tensor(f"{site}.lora_B").clone(),
                )
                for site in sites
            }

        try:
            return self._verified.read(path, sha256, verify_file, read_tensors)
        except (SafetensorError, OSError) as error:
            raise IntegrityError(f"{path}: not a readable file of pieces ({error})") from error

    def close(self) -> None:
        """Close all files; each is verified again on its next use."""
        self._verified.clear()
        self._open.clear()

    def _open_file(self, sharer: str, path: Path) -> Any:
        if sharer not in self._open:
            self._open[sharer] = safe_open(path, framework="pt")
            # Evict the least recently used file.
            if len(self._open) > MAX_OPEN_FILES:
                self._open.popitem(last=False)
        self._open.move_to_end(sharer)
        return self._open[sharer]


def list_sharers(folder: Path) -> list[str]:
    """Return the pseudonyms of the sharers with a file in the folder.

    Raises IntegrityError if the folder holds a file that does not belong to a pool.
    """
    out: list[str] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if is_working_file(path.name):
            continue
        if path.suffix != ".safetensors" or not PSEUDONYM.fullmatch(path.stem):
            raise IntegrityError(f"{path}: a foreign file in a pool; remove it")
        out.append(path.stem)
    return out
