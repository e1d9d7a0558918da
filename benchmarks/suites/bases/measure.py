"""The measurements: each returns plain numbers, so that an interrupted run can resume."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    FalconConfig,
    GemmaConfig,
    GPT2Config,
    LlamaConfig,
    MambaConfig,
    MixtralConfig,
)

from idiolect.adapters.lora import LoraConfig
from idiolect.models.folder.weights import silence_transformers
from idiolect.models.load import load_base
from idiolect.models.proof.prove import prove_ways
from idiolect.models.quantization.kinds import QuantizeName
from idiolect.models.quantization.modules import count_weight_bytes
from idiolect.models.structure import find_decoder
from idiolect.models.tiny import make_byte_tokenizer
from idiolect.models.ways import Ways
from idiolect.prompts.render import Example
from idiolect.storage.data_packages import get_data_packages_folder
from idiolect.training.engine.train_many import train_many
from idiolect.training.holdout_gate import compute_mean_losses
from idiolect.training.jobs import TrainingJob
from idiolect.training.schedule import TrainConfig
from suites.audit.people import SEED, build_subjects

ROOT = Path(__file__).resolve().parents[3]
FORWARD_TOKENS = 4096
OLD_COMMIT = "aa1afae"
"""The version before bases were proven."""
PLAIN = Ways(
    attention=False,
    batched=False,
    packed=False,
    prefix=False,
    layers=False,
    tree=False,
    prepacked=False,
)
_SIZES: dict[str, Any] = {
    "vocab_size": 258,
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": 257,
}
_HEADS: dict[str, Any] = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 256,
    "max_position_embeddings": 512,
}
FAMILIES: Mapping[str, Any] = {
    "llama": lambda: LlamaConfig(**_SIZES, **_HEADS),
    "gemma": lambda: GemmaConfig(**_SIZES, **_HEADS, head_dim=32),
    "mixtral (experts)": lambda: MixtralConfig(**_SIZES, **_HEADS, num_local_experts=4),
    "gpt2": lambda: GPT2Config(
        vocab_size=258, n_embd=128, n_layer=4, n_head=4, n_positions=512, eos_token_id=257
    ),
    "falcon": lambda: FalconConfig(**_SIZES, num_attention_heads=4),
    "mamba (state)": lambda: MambaConfig(**_SIZES, state_size=8),
}
"""Settings of small random models, one of each kind."""


def measure_proof(repeats: int) -> dict[str, Any]:
    """Time the proof of the embedded base, which a first load runs."""
    base = load_base()
    # As it was when the base was loaded: the default attention of transformers.
    find_decoder(base.model).config._attn_implementation = "sdpa"
    times: list[float] = []
    for _ in range(repeats):
        began = time.perf_counter()
        prove_ways(base)
        times.append(time.perf_counter() - began)
    return {"times": times}


def measure_quantized(kind: QuantizeName, people: int) -> dict[str, Any]:
    """Train people's adapters on the embedded base; return its bytes and the held-out losses."""
    base = load_base(dtype="bfloat16", quantize=kind)
    subjects = [one.audited for one in build_subjects(base, "reply", people)]
    jobs = [TrainingJob(person=one.person, examples=tuple(one.members)) for one in subjects]
    began = time.perf_counter()
    trained = train_many(base, jobs, LoraConfig(), TrainConfig(seed=SEED))
    seconds = time.perf_counter() - began
    held_out = {one.person: tuple(one.non_members) for one in subjects}
    bytes_held = count_weight_bytes(base.model)
    return {
        "linear_bytes": bytes_held.linear,
        "whole_bytes": bytes_held.whole,
        "training_seconds": seconds,
        **{
            name: compute_mean_losses(base, held_out, adapters, forward_tokens=FORWARD_TOKENS)
            for name, adapters in (
                ("bare", {}),
                ("adapted", {one.person: one.adapter for one in trained}),
            )
        },
    }


def measure_family(name: str, people: int, repeats: int) -> dict[str, Any]:
    """Time training on a small random model, by the ways that are right and by the plain one."""
    with tempfile.TemporaryDirectory() as folder, silence_transformers():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            model: Any = AutoModelForCausalLM.from_config(FAMILIES[name]())
        model.save_pretrained(folder)
        make_byte_tokenizer().save_pretrained(folder)
        base = load_base(folder, dtype="float32")
    plain = replace(base, ways=replace(PLAIN, flat_modules=base.ways.flat_modules))
    lora = LoraConfig().resolve_for(base.model)
    jobs = make_random_jobs(people)
    times: dict[str, list[float]] = {"fast": [], "plain": []}
    # In turn, so that both meet the same load of the machine; the first round only warms up.
    for turn in range(repeats + 1):
        for way, one in (("fast", base), ("plain", plain)):
            began = time.perf_counter()
            train_many(one, jobs, lora, TrainConfig(seed=SEED, epochs=1))
            if turn:
                times[way].append(time.perf_counter() - began)
    return {"times": times, "off": sorted(base.ways.reasons)}


def make_random_jobs(people: int, items: int = 16) -> list[TrainingJob]:
    """Return people with random tokens, whose prompts begin alike."""
    draw = torch.Generator().manual_seed(SEED)

    def draw_tokens(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(0, 256, (count,), generator=draw).tolist())

    first = draw_tokens(16)
    return [
        TrainingJob(
            person=f"p{n}",
            examples=tuple(
                Example(first + draw_tokens(24 + (5 * n + 3 * i) % 20), 32) for i in range(items)
            ),
        )
        for n in range(people)
    ]


def measure_speed(repeats: int, people: int, work: Path) -> dict[str, Any]:
    """Time training on the embedded base with this version and an old one, in turn, in processes
    of their own."""
    old = work / OLD_COMMIT
    if not old.is_dir():
        archive = work / "old.tar"
        command = ["git", "archive", "--output", str(archive), OLD_COMMIT, "src"]
        subprocess.run(command, cwd=ROOT, check=True)
        with tarfile.open(archive) as packed:
            packed.extractall(old, filter="data")
    times: dict[str, list[float]] = {"now": [], "old": []}
    for turn in range(repeats):
        pair = (("now", ROOT / "src"), ("old", old / "src"))
        for version, source in pair if turn % 2 == 0 else reversed(pair):
            command = [sys.executable, str(Path(__file__).with_name("old_version.py")), str(people)]
            # The old version imports the package of the embedded model, this one reads its files.
            path = os.pathsep.join(map(str, (source, get_data_packages_folder())))
            environment = {**os.environ, "PYTHONPATH": path}
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True
            )
            times[version].append(statistics.median(json.loads(done.stdout.splitlines()[-1])))
    return {"times": times}
