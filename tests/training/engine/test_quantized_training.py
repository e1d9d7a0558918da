"""Invariant 1 on a quantized base: training together equals the reference loop on that base."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from idiolect.inference.generator import Generator
from idiolect.models.base import Base
from idiolect.models.load import load_base
from idiolect.models.quantization.kinds import QuantizeName
from idiolect.models.quantization.modules import count_weight_bytes
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.train_many import train_many
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig
from support.job_strategies import LORA, make_jobs, relative_difference
from support.model_families import SIZES, save_random_model

pytest.importorskip("bitsandbytes")
pytest.importorskip("torchao")

TRAIN = TrainConfig(batch=2, epochs=1, rate=0.02, epsilon=1e-2)
"""Adam's epsilon as in ``test_train_many.py``."""
SHARED_WORDS = tuple(range(40, 55))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases") / "wide"
    wide: dict[str, Any] = {**SIZES, "hidden_size": 64, "intermediate_size": 128}
    save_random_model(LlamaConfig(**wide, initializer_range=0.1), folder)
    return folder


def share_first_words(job: TrainingJob) -> TrainingJob:
    """Return a job whose prompts all begin alike."""
    return replace(
        job,
        examples=tuple(
            replace(e, ids=SHARED_WORDS + e.ids, answer_start=len(SHARED_WORDS) + e.answer_start)
            for e in job.examples
        ),
    )


@pytest.mark.parametrize("layout", ["auto", "packed"])
@pytest.mark.parametrize("kind", ["nf4", "int8", "torchao-int8"])
def test_train_many_on_a_quantized_base_equals_reference(
    folder: Path, kind: QuantizeName, layout: str
) -> None:
    base = load_base(folder, dtype="float32", device="cpu", quantize=kind)
    work = [share_first_words(job) for job in make_jobs(3, 3)]
    # An inference comes first, as in the gate of a later run.
    with torch.no_grad():
        base.model(input_ids=torch.tensor([[5, 6, 7]]))
    engine = EngineConfig(slots=2, layout=layout)  # pyright: ignore[reportArgumentType]
    plain = load_base(folder, dtype="float32", device="cpu")
    for job, ours in zip(work, train_many(base, work, LORA, TRAIN, engine), strict=True):
        alone = train_one(base, job, LORA, TRAIN)
        assert relative_difference(ours.adapter, alone.adapter) <= 1e-5
        assert relative_difference(ours.adapter, train_one(plain, job, LORA, TRAIN).adapter) > 1e-4


@pytest.fixture(scope="module")
def embedded() -> Base:
    return load_base(dtype="bfloat16", device="cpu", quantize="nf4")


@pytest.mark.slow
def test_embedded_base_in_nf4_trains_and_answers(embedded: Base) -> None:
    work = [share_first_words(job) for job in make_jobs(1, 2)]
    (done,) = train_many(embedded, work, LORA, TrainConfig(batch=2, epochs=4, rate=5e-3))
    assert done.last_loss < done.first_loss - 0.5
    prompts = [e.ids[: e.answer_start] for e in work[0].examples[:2]]
    generator = Generator(embedded, {"p0": done.adapter})
    own, bare = (
        generator.generate_greedy([(person, prompt) for prompt in prompts], max_tokens=4)
        for person in ("p0", "unknown")
    )
    assert own != bare


@pytest.mark.slow
def test_embedded_base_in_nf4_takes_a_quarter_of_its_linear_layers(embedded: Base) -> None:
    plain = count_weight_bytes(load_base(dtype="bfloat16", device="cpu").model)
    assert count_weight_bytes(embedded.model).linear <= 0.27 * plain.linear
