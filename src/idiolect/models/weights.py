"""A base model's folder: the hash that identifies its weights, its manifest, its files written anew
with other weights, quiet loading."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers.utils import logging as transformers_logging

from idiolect.errors import MismatchError
from idiolect.storage.files import sha256_file
from idiolect.storage.manifest import Manifest


def hash_weights(folder: Path) -> str:
    """sha256 over the names and sha256 sums of a folder's safetensors files (hex)."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(f"{file.name}\x00{sha256_file(file)}\x00".encode())
    return digest.hexdigest()


def save_base_manifest(
    folder: Path, *, name: str, source: str, contributors: tuple[str, ...] = (), **config: object
) -> None:
    """Write the manifest of a base folder: its name, what it was made from, its files' hashes."""
    Manifest.from_folder(
        folder,
        kind="base",
        base=hash_weights(folder),
        config={"name": name, "source": source, **config},
        contributors=contributors,
    ).save(folder)


def rewrite_base(
    source: Path, folder: Path, changes: Mapping[str, Callable[[Tensor], Tensor]]
) -> None:
    """Copy a model's files into ``folder`` with some weights changed, by their names in the model.

    The manifest is left to the caller. Raises MismatchError where the weight files do not name a
    weight as the model does.
    """
    left = set(changes)
    for file in sorted(source.iterdir()):
        if file.suffix == ".safetensors":
            tensors = load_file(file)
            for name in left & set(tensors):
                tensors[name] = changes[name](tensors[name]).contiguous()
            left -= set(tensors)
            save_file(tensors, folder / file.name, metadata={"format": "pt"})
        elif file.is_file() and file.name != Manifest.NAME:
            shutil.copyfile(file, folder / file.name)
    if left:
        raise MismatchError(
            f"{source}: its weight files have another name for {min(left)!r} than the model; "
            "such a base cannot be rewritten"
        )


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Hold back transformers' own bars and advice: progress is told through ``events``."""
    level = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
