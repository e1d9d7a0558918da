"""Private training: the reference's mathematics, and the fast version against the reference."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from idiolect.adapters.arithmetic.directions import AdapterBasis, flatten_b
from idiolect.adapters.lora import LoraConfig, require_lora
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.context import ContextConfig, PersonContext
from idiolect.prompts.render import PromptRenderer
from idiolect.training.jobs import TrainingJob
from idiolect.training.private import train_private as module
from idiolect.training.private.accounting import compute_multiplier
from idiolect.training.private.config import PrivateConfig
from idiolect.training.private.noise import draw_secure_noise
from idiolect.training.private.reference import clip_norm, train_one_private
from idiolect.training.private.train_private import clip_rows, train_private
from support.odd_families import make_alike_jobs, make_family_base, make_family_lora
from support.private_basis import SHARED_LORA, make_basis, make_noise_source
from support.tiny_people import RATING, make_rater

pytestmark = pytest.mark.finding("private-training")

CONFIG = PrivateConfig(epsilon=8, steps=3, clip=0.05, curvature=0.01)


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base(dtype=torch.float64)


def make_job(base: Base, person: str, count: int, *, twice: int = 0) -> TrainingJob:
    """The job of a person; their first ``twice`` records occur a second time."""
    history = make_rater(person, count)
    context = PersonContext(history, RATING, PromptRenderer(base.tokenizer), ContextConfig())
    found = [context.build_item_example(n) for n in range(count)]
    examples = [example for example in found if example is not None]
    return TrainingJob(person=person, examples=(*examples, *examples[:twice]))


def no_noise(count: int, deviation: float) -> Tensor:
    return torch.zeros(count, dtype=torch.float64)


@pytest.mark.parametrize(
    "lora", [SHARED_LORA, replace(SHARED_LORA, active="answer"), replace(SHARED_LORA, top_layers=1)]
)
def test_train_private_equals_reference(
    base: Base, lora: LoraConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With repeated records, a last group of another size, and people after each other."""
    monkeypatch.setattr(module, "_MAX_SLOTS", 4)
    basis = make_basis(base, 3, lora)
    jobs = [make_job(base, "ann", 9, twice=2), make_job(base, "bob", 3)]
    found = train_private(base, jobs, basis, CONFIG, draw_noise=make_noise_source(5))
    noise = make_noise_source(5)
    multiplier = compute_multiplier(CONFIG.epsilon, CONFIG.delta, CONFIG.steps)
    for job, result in zip(jobs, found, strict=True):
        expected = train_one_private(base, job, basis, CONFIG, multiplier, noise)
        moved = flatten_b(expected) - flatten_b(basis.mean)
        assert float(moved.norm()) > 1e-3
        error = float((flatten_b(require_lora(result.adapter)) - flatten_b(expected)).norm())
        assert error <= 1e-6 * float(moved.norm())
        assert (result.first_loss, result.last_loss) == (0.0, 0.0)


@pytest.mark.parametrize("name", ["opt", "qwen3_5_text"])
@pytest.mark.parametrize("batched", [True, False])
def test_train_private_equals_reference_without_fast_ways(name: str, batched: bool) -> None:
    base = make_family_base(name, dtype=torch.float64)
    base = replace(base, ways=replace(base.ways, batched=batched))
    basis = make_basis(base, 3, make_family_lora(name, shared_a=True))
    (job, *_), multiplier = make_alike_jobs(base), 1.0
    (found,) = train_private(base, [job], basis, CONFIG, draw_noise=no_noise)
    expected = train_one_private(base, job, basis, CONFIG, multiplier, no_noise)
    moved = flatten_b(expected) - flatten_b(basis.mean)
    error = float((flatten_b(require_lora(found.adapter)) - flatten_b(expected)).norm())
    assert error <= 1e-6 * float(moved.norm())


@settings(max_examples=50)
@given(
    rows=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1, max_size=5),
    clip=st.floats(1e-3, 1e3),
)
def test_clip_rows_bounds_each_record(rows: list[list[float]], clip: float) -> None:
    grads = torch.tensor(rows, dtype=torch.float64)
    clipped = clip_rows(grads, clip)
    for before, after in zip(grads, clipped, strict=True):
        assert torch.allclose(after, clip_norm(before, clip), rtol=1e-12, atol=0)
        assert float(after.norm()) <= clip * (1 + 1e-12)
        if float(before.norm()) <= clip:
            assert torch.equal(after, before)


def test_clip_rows_makes_broken_record_zero() -> None:
    grads = torch.tensor([[float("nan"), 1.0], [float("inf"), 1.0], [0.3, 0.4]])
    assert clip_rows(grads, 1.0).tolist() == [[0, 0], [0, 0], grads[2].tolist()]
    assert clip_norm(grads[0], 1.0).tolist() == [0, 0]


def test_train_private_one_record_changes_step_by_clip_at_most(base: Base) -> None:
    """The sensitivity that the noise is made for: neighbors differ in one record."""
    basis, config = make_basis(base), replace(CONFIG, steps=1, clip=0.01)
    job = make_job(base, "ann", 8)
    rate = config.compute_rate(8)
    whole = train_coordinates(base, job, basis, config)
    for left_out in range(1, 8):
        examples = (*job.examples[:left_out], *job.examples[left_out + 1 :])
        less = train_coordinates(base, replace(job, examples=examples), basis, config)
        change = float((whole - less).norm()) / rate
        # All gradients here are longer than ``clip``, so the bound is reached.
        assert change == pytest.approx(config.clip, rel=1e-4)


def train_coordinates(
    base: Base, job: TrainingJob, basis: AdapterBasis, config: PrivateConfig
) -> Tensor:
    """The coordinates of an adapter that was trained without noise."""
    (result,) = train_private(base, [job], basis, config, draw_noise=no_noise)
    return basis.project(require_lora(result.adapter))


def test_train_private_draws_noise_for_its_multiplier(base: Base) -> None:
    drawn: list[tuple[int, float]] = []

    def record_noise(count: int, deviation: float) -> Tensor:
        drawn.append((count, deviation))
        return no_noise(count, deviation)

    basis = make_basis(base)
    train_private(base, [make_job(base, "ann", 4)], basis, CONFIG, draw_noise=record_noise)
    multiplier = compute_multiplier(CONFIG.epsilon, CONFIG.delta, CONFIG.steps)
    assert drawn == [(basis.count, multiplier * CONFIG.clip)] * CONFIG.steps


def test_train_private_noise_differs_between_runs(base: Base) -> None:
    basis, job = make_basis(base), make_job(base, "ann", 4)
    first, second = (
        require_lora(train_private(base, [job], basis, CONFIG)[0].adapter) for _ in range(2)
    )
    assert not torch.equal(flatten_b(first), flatten_b(second))


def test_draw_secure_noise_has_its_deviation_and_shape() -> None:
    draws = draw_secure_noise(20_000, 2.5)
    # Five standard errors: a false alarm is rarer than one in a million.
    assert abs(float(draws.mean())) < 5 * 2.5 / 20_000**0.5
    assert abs(float(draws.std()) - 2.5) < 5 * 2.5 / 40_000**0.5
    beyond = float((draws.abs() > 2 * 2.5).double().mean())
    assert beyond == pytest.approx(0.0455, abs=0.008)
