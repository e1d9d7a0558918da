"""The activation cache: forwards from cached activations equal whole forwards.

Covers adapters on answers only, adapters in the last layers, and a shared A.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.adapters.lora import LoraConfig, require_lora
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.prompts.chat_template import encode_invocation, find_invocation
from idiolect.prompts.render import Example
from idiolect.training.engine import activation_cache, base_prefill
from idiolect.training.engine.activation_cache import ActivationCache
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.train_many import train_many
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig
from support.job_strategies import (
    LORA,
    bitwise_equal,
    draw_jobs,
    draw_train_configs,
    engine_configs,
    make_exact_base,
    make_jobs,
    relative_difference,
)

EXACT = 1e-10
KINDS = [
    replace(LORA, active="answer"),
    replace(LORA, top_layers=1),
    replace(LORA, active="answer", top_layers=1),
    replace(LORA, shared_a=True),
    replace(LORA, active="answer", top_layers=1, shared_a=True, targets=("k_proj", "down_proj")),
]


@pytest.fixture(scope="module")
def base() -> Base:
    return make_exact_base()


def append_invocation(base: Base, work: tuple[TrainingJob, ...]) -> tuple[TrainingJob, ...]:
    """Append the call for an answer to each prompt."""
    call = encode_invocation(base.tokenizer)

    def append_call(e: Example) -> Example:
        ids = (*e.ids[: e.answer_start], *call, *e.ids[e.answer_start :])
        return Example(ids, e.answer_start + len(call), e.label_counts)

    return tuple(replace(job, examples=tuple(map(append_call, job.examples))) for job in work)


@settings(max_examples=60)
@given(
    work=draw_jobs(),
    config=draw_train_configs(),
    engine=engine_configs,
    lora=st.sampled_from(KINDS),
    keep=st.booleans(),
)
def test_train_many_with_cache_equals_reference(
    base: Base,
    work: tuple[TrainingJob, ...],
    config: TrainConfig,
    engine: EngineConfig,
    lora: LoraConfig,
    keep: bool,
) -> None:
    work = append_invocation(base, work)
    together = train_many(base, work, lora, config, replace(engine, keep=keep))
    for job, ours in zip(work, together, strict=True):
        alone = train_one(base, job, lora, config)
        assert relative_difference(ours.adapter, alone.adapter) <= EXACT
        assert ours.last_loss == pytest.approx(alone.last_loss, rel=1e-10)


@pytest.mark.parametrize("lora", KINDS, ids=lambda lora: lora.description)
def test_train_many_trains_each_lora_variant_differently(base: Base, lora: LoraConfig) -> None:
    (job,) = append_invocation(base, make_jobs(1))
    (plain,) = train_many(base, [job], replace(lora, active="all", shared_a=False), TrainConfig())
    (ours,) = train_many(base, [job], lora, TrainConfig())
    if lora.top_layers:
        assert all(".layers.1." in path for path in require_lora(ours.adapter).pairs)
    if lora != replace(lora, active="all", shared_a=False):
        assert relative_difference(ours.adapter, plain.adapter) > 1e-3


def test_train_many_with_shared_a_keeps_a_equal_for_all_people(base: Base) -> None:
    lora = replace(LORA, shared_a=True)
    config = TrainConfig(batch=2, epochs=2, weight_decay=0.5)
    one, other, *_ = train_many(base, make_jobs(), lora, config)
    theirs = require_lora(other.adapter).pairs
    for path, (a, b) in require_lora(one.adapter).pairs.items():
        assert torch.equal(a, theirs[path][0])
        assert not torch.equal(b, theirs[path][1])


def test_activation_cache_runs_each_prompt_once_for_all_people(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people with the same prompts, three epochs: the base runs each prompt once."""
    (job,) = append_invocation(base, make_jobs(1))
    seen: list[int] = []
    run = activation_cache.prefill_base

    def record_call(base: Base, examples: Any, **options: Any) -> Any:
        seen.append(len(examples))
        return run(base, examples, **options)

    monkeypatch.setattr(activation_cache, "prefill_base", record_call)
    twins = [job, replace(job, person="twin")]
    train_many(base, twins, replace(LORA, active="answer"), TrainConfig(epochs=3, batch=2))
    assert sum(seen) == len({e.ids[: e.answer_start] for e in job.examples})


def test_prefill_base_runs_prompt_once_for_several_answers(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boundary hidden states differ by answer; the prompt before it does not."""
    call = encode_invocation(base.tokenizer)
    prompt = (5, 6, 7, 8)
    examples = tuple(Example((*prompt, *call, 20 + n, 9), 4 + len(call)) for n in range(3))
    job = TrainingJob(person="p", examples=examples)
    seen: list[torch.Size] = []
    run = base_prefill.forward_part

    def record_call(base: Base, ids: torch.Tensor, *args: Any, **options: Any) -> Any:
        seen.append(ids.shape)
        return run(base, ids, *args, **options)

    monkeypatch.setattr(base_prefill, "forward_part", record_call)
    train_many(base, [job], replace(LORA, active="answer", top_layers=1), TrainConfig(epochs=3))
    assert seen == [(1, len(prompt)), (3, len(call) + 1)]


def test_activation_cache_with_little_memory_gives_equal_adapters(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, lora = append_invocation(base, make_jobs()), replace(LORA, active="answer", top_layers=1)
    config = TrainConfig(batch=2, epochs=2)
    held: list[tuple[int, int]] = []
    ensure_cached = ActivationCache.ensure_cached

    def check_entries(self: ActivationCache, examples: Any) -> None:
        ensure_cached(self, examples)
        held.append((len(self._entries), len({self._make_key(e) for e in examples})))
        assert self.cached_bytes == sum(kept.num_bytes for kept in self._entries.values())

    with monkeypatch.context() as patch:
        patch.setattr(ActivationCache, "ensure_cached", check_entries)
        cramped = train_many(
            base, work, lora, config, EngineConfig(forward_tokens=64, keep_bytes=1)
        )
    assert held
    # With room for nothing, only what the step needs is kept.
    assert all(kept == needed for kept, needed in held)
    for ours, theirs in zip(cramped, train_many(base, work, lora, config), strict=True):
        assert relative_difference(ours.adapter, theirs.adapter) <= EXACT


def test_train_many_with_dropout_ignores_cache(base: Base) -> None:
    work, lora = append_invocation(base, make_jobs()), replace(LORA, active="answer", dropout=0.2)
    config = TrainConfig(batch=2)
    kept, whole = (
        train_many(base, work, lora, config, EngineConfig(keep=keep)) for keep in (True, False)
    )
    assert all(bitwise_equal(a.adapter, b.adapter) for a, b in zip(kept, whole, strict=True))


def test_find_invocation_returns_last_match() -> None:
    assert find_invocation((7, 8, 1, 7, 8, 2), (7, 8)) == 3
    with pytest.raises(UsageError, match=r"lora\.active"):
        find_invocation((7, 1, 8), (7, 8))


def test_train_many_refuses_prompt_without_invocation(base: Base) -> None:
    with pytest.raises(UsageError, match=r"lora\.active"):
        train_many(base, make_jobs(1), replace(LORA, active="answer"), TrainConfig())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"active": "prompt"}, r"lora\.active"),
        ({"top_layers": -1}, r"lora\.top_layers"),
        ({"top_layers": 3}, r"lora\.top_layers: 3, the base has 2"),
    ],
)
def test_train_many_refuses_invalid_lora_settings(
    base: Base, change: dict[str, Any], match: str
) -> None:
    with pytest.raises(UsageError, match=match):
        train_many(base, make_jobs(1), replace(LORA, **change), TrainConfig())
