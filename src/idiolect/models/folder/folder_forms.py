"""Says what a folder holds if it is no base model: GGUF files, an adapter, a part of a copy.

Each form that people bring gets one line: what it is, where, and what to give instead. Only names
and small JSON files are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from idiolect.errors import IntegrityError, MismatchError, MissingError
from idiolect.models.folder.load_errors import shorten_text
from idiolect.storage.files import explain_os_errors

CONFIG_FILE = "config.json"
ADAPTER_CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
WANTED = "a folder with config.json, the tokenizer's files and .safetensors weights"
"""What a base is, in messages."""
_SMALL_FILE = 64_000_000
"""Largest index that is read; that of a model with a million tensors has about this size."""
_LFS_START = b"version https://git-lfs"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_OTHER_WEIGHTS = (".h5", ".msgpack", ".onnx", ".tflite", ".mlpackage", ".npz")
_ORIGINAL_FORMAT = ("params.json", "model_index.json")
_TOKENIZER_PARTS = ("tokenizer", "vocab", "merges", "spiece", "sentencepiece", "tekken", "bpe")


def require_folder(path: Path, what: str) -> None:
    """Raise MissingError if a path that exists is a file; says which folder to name instead."""
    if not path.is_file():
        return
    if path.suffix == ".gguf":
        raise MissingError(
            f"{path}: is a GGUF file, a copy of a model for llama.cpp that cannot be trained on; "
            f"name the model that it was made from: {WANTED}"
        )
    raise MissingError(f"{path}: is a file, not the folder of a {what}; name its folder")


def require_config(folder: Path, what: str) -> None:
    """Raise MissingError if a folder has no config.json, so it is not a model's; MismatchError if
    it is an adapter's."""
    if (folder / CONFIG_FILE).is_file():
        return
    if (folder / ADAPTER_CONFIG_FILE).is_file():
        base = read_base_of_adapter(folder)
        raise MismatchError(
            f"{folder}: is an adapter in PEFT's format, not a {what}; it was made for the base "
            f"{base}: name that base (an adapter goes into a store with idiolect import-adapter)"
        )
    holds = f"{folder}: no {CONFIG_FILE} there, so it is not a {what} folder"
    names = _list_names(folder)
    found = [name for name in names if name.endswith(".gguf")]
    if found:
        raise MissingError(
            f"{holds}; it holds GGUF files for llama.cpp ({_join_names(found)}), which cannot be "
            f"trained on; name the model that they were made from: {WANTED}"
        )
    original = [name for name in names if name in _ORIGINAL_FORMAT]
    if original:
        raise MissingError(
            f"{holds}; {original[0]} shows another format than transformers'; name {WANTED}"
        )
    # A folder of the hub's cache, or a folder around the model.
    below = sorted(path.parent for path in folder.glob(f"*/{CONFIG_FILE}"))
    below = below or sorted(path.parent for path in folder.glob(f"snapshots/*/{CONFIG_FILE}"))
    if below:
        raise MissingError(f"{holds}; {_join_names([str(path) for path in below])} is one")
    raise MissingError(f"{holds}; name {WANTED}")


def require_weights(folder: Path) -> None:
    """Raise IntegrityError if a model's weights are not there as safetensors, or not all of them;
    MismatchError if an adapter lies beside them."""
    names = _list_names(folder)
    # transformers would load the base that the adapter names, instead of the folder's own weights.
    if (folder / ADAPTER_CONFIG_FILE).exists():
        raise MismatchError(
            f"{folder}: holds an adapter beside the model ({ADAPTER_CONFIG_FILE}, made for the "
            f"base {read_base_of_adapter(folder)}), so it is not clear which one is meant; move "
            "the adapter to a folder of its own"
        )
    found = [name for name in names if name.endswith(".safetensors")]
    if not found and INDEX_FILE not in names:
        raise IntegrityError(f"{folder}: no .safetensors weights there; {_explain_weights(names)}")
    if INDEX_FILE in names and WEIGHTS_FILE not in names:
        _require_shards(folder, names)
    for name in found:
        file = folder / name
        with explain_os_errors("read", file), file.open("rb") as opened:
            if opened.read(len(_LFS_START)) == _LFS_START:
                raise IntegrityError(
                    f"{file}: is a pointer of Git LFS and holds no weights; run git lfs pull in "
                    "its folder"
                )


def require_tokenizer_files(folder: Path) -> None:
    """Raise MismatchError if a folder has no file of a tokenizer."""
    if not any(name.lower().startswith(_TOKENIZER_PARTS) for name in _list_names(folder)):
        raise MismatchError(
            f"{folder}: no tokenizer there; copy the model's tokenizer.json and "
            "tokenizer_config.json into the folder"
        )


def read_base_of_adapter(folder: Path) -> str:
    """Return the name of the base in an adapter's config, in quotes; words if it has none."""
    fields = _read_small_json(folder / ADAPTER_CONFIG_FILE)
    name = fields.get("base_model_name_or_path")
    return repr(shorten_text(name, 200)) if isinstance(name, str) and name else "(it names none)"


def _explain_weights(names: Iterable[str]) -> str:
    """Say in which form a folder has its weights instead of safetensors, and what to do."""
    names = list(names)
    gguf = [name for name in names if name.endswith(".gguf")]
    if gguf:
        return (
            f"it has GGUF ({_join_names(gguf)}), which is for llama.cpp and cannot be trained on; "
            "copy the model's .safetensors files into the folder"
        )
    pickled = [name for name in names if name.endswith(_PICKLED)]
    if pickled:
        return (
            f"pickled weights ({_join_names(pickled)}) are never loaded, because they can run "
            "code; convert the model to safetensors first (save_pretrained of transformers, on a "
            "machine where you trust it)"
        )
    other = [name for name in names if name.endswith(_OTHER_WEIGHTS)]
    if other:
        return (
            f"{_join_names(other)} is for another framework; copy the model's .safetensors files "
            "into the folder"
        )
    return "copy the model's .safetensors files into the folder"


def _require_shards(folder: Path, names: Iterable[str]) -> None:
    """Raise IntegrityError if a weight file that the index names is not in the folder."""
    index = folder / INDEX_FILE
    places = _read_small_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise IntegrityError(f"{index}: has no weight_map; copy the model again")
    wanted = sorted({str(name) for name in cast("Mapping[str, Any]", places).values()})
    missing = sorted(set(wanted) - set(names))
    if missing:
        raise IntegrityError(
            f"{folder}: {len(missing)} of {len(wanted)} weight files are missing "
            f"({_join_names(missing)}); copy the model again"
        )


def _read_small_json(file: Path) -> Mapping[str, Any]:
    """Return a JSON object; raises IntegrityError for anything else, or for a huge file."""
    with explain_os_errors("read", file):
        size = file.stat().st_size
        raw = file.read_bytes() if size <= _SMALL_FILE else b""
    try:
        found: Any = json.loads(raw)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise IntegrityError(f"{file}: not a JSON object ({size:,} bytes); copy it again")
    return cast("Mapping[str, Any]", found)


def _list_names(folder: Path) -> list[str]:
    with explain_os_errors("read", folder):
        return sorted(path.name for path in folder.iterdir())


def _join_names(names: list[str]) -> str:
    """Return the first name, and how many more there are."""
    shown = shorten_text(names[0], 200)
    return f"{shown} and {len(names) - 1} more" if len(names) > 1 else shown
