"""Tries out a foreign model's config, tokenizer and chat template in a process with limits.

A config can declare sizes that fill the memory, and a chat template is a program that may never
end. So a process with limits of time and memory builds the model without weights and renders a
conversation, before the model is loaded here. What was tried is remembered in the user's cache
under the hash of these files. Run as a module, this file is that process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import transformers

import idiolect
from idiolect.errors import IdiolectError, IntegrityError, MismatchError
from idiolect.models.folder.bundled import get_cache_folder
from idiolect.models.folder.foreign_config import list_settings_files, load_model_config
from idiolect.models.folder.load_errors import describe_load_error
from idiolect.models.folder.tokenizer_checks import get_embedding_rows
from idiolect.models.folder.weights import silence_transformers
from idiolect.models.quantization.kinds import QUANTIZATION_FIELD
from idiolect.storage.files import read_json, sha256_file, write_json
from idiolect.storage.manifest import Manifest

PROBE_SECONDS = 60.0
"""Time limit, counted from when the process is ready; known models take 2 seconds."""
_MEMORY_BYTES = 8 << 30
_SLACK = 1_000_000
"""Numbers that a model may have besides its weights, such as tables of positions."""
_VERSION = 2
_READY = "ready"
_TALK = [
    {"role": "user", "content": "Where is it?"},
    {"role": "assistant", "content": "Under the bell."},
    {"role": "user", "content": "Thanks."},
]


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What a process found out about a model without its weights."""

    numbers: int = 0
    """How many numbers the model's weights and tables have; 0 if it cannot be built, which the
    loading process then finds out by itself."""
    per_byte: int = 1
    """How many numbers a byte of the weight files may hold."""
    template: str = ""
    """What is wrong with the chat template, in words; empty if nothing is."""


def check_foreign_model(folder: Path, kind: str, *, seconds: float = PROBE_SECONDS) -> int:
    """Check that loading a folder's model ends, and that its config fits its weights.

    Args:
        folder: a model's folder.
        kind: the class of transformers that loads the model, e.g. ``AutoModelForCausalLM``.
        seconds: the time limit.

    Returns:
        How many numbers the model has; 0 if it cannot be built.

    Raises:
        IntegrityError: if the config declares more numbers than the weight files can hold, or a
            file is too large.
        MismatchError: if the time or the memory did not suffice, or if the chat template does not
            render a conversation.
    """
    found = _read_or_probe(folder, kind, seconds)
    held = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    # A number takes at least a byte, or half of one if it is quantized, so this is generous.
    if found.numbers > found.per_byte * held + _SLACK:
        raise IntegrityError(
            f"{folder}: its config declares {found.numbers:,} numbers, and its weight files have "
            f"{held:,} bytes; copy the model again"
        )
    if found.template:
        raise MismatchError(
            f"{folder}: its chat template {found.template}; fix it, or remove it from the model's "
            "folder"
        )
    return found.numbers


def _read_or_probe(folder: Path, kind: str, seconds: float) -> ProbeResult:
    """Return what is known about a model, from the cache or from a process that tries it out."""
    # Manifests differ between models that are otherwise the same, and no library reads them.
    files = [path for path in list_settings_files(folder) if path.name != Manifest.NAME]
    hashes = [(path.name, sha256_file(path)) for path in files if path.is_file()]
    key = json.dumps([_VERSION, transformers.__version__, kind, hashes])
    known = get_cache_folder() / "probes" / f"{hashlib.sha256(key.encode()).hexdigest()}.json"
    with contextlib.suppress(IdiolectError, TypeError):
        return ProbeResult(**read_json(known))
    found = _run_probe(folder, kind, seconds)
    # Without a cache, the next load takes a few seconds longer.
    with contextlib.suppress(IdiolectError):
        write_json(known, asdict(found))
    return found


def _run_probe(folder: Path, kind: str, seconds: float) -> ProbeResult:
    """Run this module on the folder in a new process, and return what it prints."""
    # -P: a file in the working folder must not take the place of a library.
    command = [
        sys.executable,
        "-P",
        "-m",
        "idiolect.models.folder.probe",
        kind,
        str(folder.absolute()),
    ]
    paths = [str(Path(idiolect.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    ) as child:
        assert child.stdout is not None
        # The libraries are imported by now; how long that takes says nothing about the model.
        is_ready = child.stdout.readline().strip() == _READY
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            raise MismatchError(
                f"{folder}: its config, tokenizer or chat template did not load within "
                f"{seconds:g} seconds; use another model"
            ) from None
        answer = child.stdout.read().strip()
    if not is_ready:
        raise IdiolectError(f"{folder}: cannot be tried out in a process of its own (exit {code})")
    if code != 0 or not answer:
        raise MismatchError(
            f"{folder}: its config, tokenizer or chat template needs too much memory, or ends the "
            "process that loads it; use another model"
        )
    return ProbeResult(**json.loads(answer))


def probe_model(folder: Path, kind: str) -> ProbeResult:
    """Build a model without weights, load its tokenizer and render a conversation."""
    factory: Any = getattr(transformers, kind)
    config = load_model_config(folder)
    stored = getattr(config, QUANTIZATION_FIELD, None) or {}
    with torch.device("meta"):
        model = factory.from_config(config, attn_implementation="eager")
    numbers = sum(one.numel() for one in (*model.parameters(), *model.buffers()))
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    for message in _TALK:
        tokenizer.encode(message["content"])
    fault = ""
    if tokenizer.chat_template and kind != "AutoModelForSequenceClassification":
        fault = _find_template_fault(tokenizer, get_embedding_rows(model.config))
    per_byte = 2 if stored.get("load_in_4bit") else 1
    return ProbeResult(numbers=numbers, per_byte=per_byte, template=fault)


def _find_template_fault(tokenizer: Any, rows: int | None) -> str:
    """Say what is wrong with a chat template; empty if it renders a conversation of a user and an
    assistant, into tokens that the model knows."""
    # The first two messages, and all of them with the start of an answer, make the prompts.
    for count, ask in ((2, False), (3, True)):
        try:
            text = str(
                tokenizer.apply_chat_template(
                    _TALK[:count], tokenize=False, add_generation_prompt=ask
                )
            )
        except MemoryError:
            raise
        except Exception as error:  # a template is a program, and raises anything
            return f"does not render a plain conversation ({describe_load_error(error)})"
        lost = [one["content"] for one in _TALK[:count] if one["content"] not in text]
        if lost:
            return f"leaves out {lost[0]!r}, a message of a plain conversation"
        most = max(tokenizer.encode(text, add_special_tokens=False))
        if rows is not None and most >= rows:
            return f"uses token {most:,}, outside the model's vocabulary of {rows:,}"
    return ""


def _limit_memory() -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # POSIX only

        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY_BYTES, _MEMORY_BYTES))


def _run_child(kind: str, folder: Path) -> None:
    """Print ``ready``, and then what was found; nothing is found if the model cannot be loaded,
    which the loading process then finds out by itself."""
    out, sys.stdout = sys.stdout, sys.stderr  # libraries print on stdout
    _limit_memory()
    print(_READY, file=out, flush=True)
    found = ProbeResult()
    with silence_transformers():
        try:
            found = probe_model(folder, kind)
        except MemoryError:
            os._exit(1)
        except Exception:  # the loading process raises it again, with its reason
            found = ProbeResult()
    print(json.dumps(asdict(found)), file=out, flush=True)
    os._exit(0)  # without the seconds that libraries take to end


if __name__ == "__main__":
    _run_child(sys.argv[1], Path(sys.argv[2]))
