"""The folder of a base model: its weight hash, its manifest, copies with changed weights, quiet
loading."""

from __future__ import annotations

import hashlib
import logging
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
    """SHA-256 over the names and SHA-256 sums of a folder's safetensors files (hex)."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(f"{file.name}\x00{sha256_file(file)}\x00".encode())
    return digest.hexdigest()


def save_base_manifest(
    folder: Path, *, name: str, source: str, contributors: tuple[str, ...] = (), **config: object
) -> None:
    """Write the manifest of a base folder: its name, its source, and the hashes of its files."""
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
    """Copy a model's files to ``folder`` and change some weights, given by their names in the
    model.

    The caller writes the manifest. Raises MismatchError if the weight files use other names than
    the model.
    """
    remaining = set(changes)
    for file in sorted(source.iterdir()):
        if file.suffix == ".safetensors":
            tensors = load_file(file)
            for name in remaining & set(tensors):
                tensors[name] = changes[name](tensors[name]).contiguous()
            # Every file is checked, because large models have several.
            remaining -= set(tensors)
            save_file(tensors, folder / file.name, metadata={"format": "pt"})
        elif file.is_file() and file.name != Manifest.NAME:
            shutil.copyfile(file, folder / file.name)
    if remaining:
        raise MismatchError(
            f"{source}: its weight files have no weight named {min(remaining)!r} as in the model; "
            "such a base cannot be rewritten"
        )


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Inside the context, transformers shows no progress bars or advice; this project reports
    progress through ``events``."""
    level = transformers_logging.get_verbosity()
    # bitsandbytes tells which kernels it does not find.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
