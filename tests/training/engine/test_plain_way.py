"""Bases on which fast ways are wrong are trained without them, and equal the reference loop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.lora import LoraConfig
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.models.logits import has_plain_head
from idiolect.models.tiny import make_tiny_base
from idiolect.models.ways import Ways
from idiolect.prompts.chat_template import encode_invocation
from idiolect.prompts.render import Example
from idiolect.training.engine import memory_plan
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.shared_prefixes import SharedPrefixes
from idiolect.training.engine.train_many import train_many
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig
from support.job_strategies import LORA, make_exact_base, make_jobs, relative_difference
from support.odd_families import (
    FAMILIES,
    PLAIN,
    make_alike_jobs,
    make_family_base,
    make_family_lora,
)
from support.recorded_ids import record_ids
from support.tiny_people import random_adapter

EXACT, SINGLE = 1e-10, 1e-5
CONFIG = TrainConfig(batch=3, epochs=1, epsilon=1e-2)
"""With an epsilon for fp32, for the reason in ``test_train_many.py``."""


def compare_with_reference(
    base: Base,
    lora: LoraConfig,
    engine: EngineConfig | None = None,
    jobs: Sequence[TrainingJob] = (),
) -> float:
    """Train people, by default three with prompts that begin alike; return the largest relative
    difference from the reference, which runs one row after another."""
    jobs = jobs or make_alike_jobs(base)
    alone = replace(base, ways=replace(base.ways, batched=False))
    trained = train_many(base, jobs, lora, CONFIG, engine)
    return max(
        relative_difference(ours.adapter, train_one(alone, job, lora, CONFIG).adapter)
        for ours, job in zip(trained, jobs, strict=True)
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_train_many_equals_reference_on_families_without_fast_ways(name: str) -> None:
    base = make_family_base(name)
    assert compare_with_reference(base, make_family_lora(name)) <= SINGLE


@pytest.mark.parametrize("name", ["opt", "falcon"])
@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("tokens", [1, 60])
def test_train_many_without_fast_ways_is_exact_in_fp64(
    name: str, batched: bool, tokens: int
) -> None:
    base = make_family_base(name, dtype=torch.float64)
    base = replace(base, ways=replace(base.ways, batched=batched))
    engine = EngineConfig(slots=2, forward_tokens=tokens)
    assert compare_with_reference(base, make_family_lora(name), engine) <= EXACT


@pytest.mark.parametrize("name", ["falcon", "mamba", "lfm2", "qwen3_5_text"])
@pytest.mark.parametrize("settings", [{"active": "answer"}, {"top_layers": 1}])
def test_train_many_runs_whole_examples_if_nothing_can_be_continued(
    name: str, settings: dict[str, Any]
) -> None:
    base, lora = make_family_base(name, dtype=torch.float64), make_family_lora(name, **settings)
    assert compare_with_reference(base, lora) <= SINGLE


@pytest.mark.parametrize("ways", [PLAIN, Ways(prefix=False), Ways(layers=False)])
@pytest.mark.parametrize("settings", [{"active": "answer"}, {"top_layers": 1}, {}])
def test_train_many_obeys_single_ways(ways: Ways, settings: dict[str, Any]) -> None:
    base = replace(make_exact_base(), ways=ways)
    assert compare_with_reference(base, replace(LORA, **settings)) <= EXACT


def test_train_many_runs_single_rows_without_padding_if_not_batched() -> None:
    base, jobs = make_tiny_base(), make_jobs()
    base = replace(base, ways=Ways(batched=False))
    assert has_plain_head(base.model)  # tried once per model, in a forward of its own
    with record_ids(base) as seen:
        train_many(base, jobs, LORA, TrainConfig(batch=4, epochs=1))
    rows = sorted(tuple(ids[0].tolist()) for ids in seen)
    assert rows == sorted(e.ids[:-1] for job in jobs for e in job.examples)
    assert all(len(ids) == 1 for ids in seen)


@pytest.mark.parametrize(
    ("ways", "shared"),
    [(Ways(), True), (Ways(prefix=False), False), (Ways(batched=False), False)],
)
def test_train_many_shares_prefixes_only_if_they_are_right(
    monkeypatch: pytest.MonkeyPatch, ways: Ways, shared: bool
) -> None:
    base, calls = replace(make_tiny_base(), ways=ways), list[int]()
    run = SharedPrefixes.run_prefixes

    def record_call(self: SharedPrefixes, base: Base, **options: Any) -> Any:
        calls.append(len(self.ids))
        return run(self, base, **options)

    monkeypatch.setattr(SharedPrefixes, "run_prefixes", record_call)
    train_many(base, make_alike_jobs(base), LORA, CONFIG)
    assert bool(calls) == shared


@pytest.mark.parametrize("settings", [{"active": "answer"}, {"top_layers": 1}])
def test_train_many_trains_prompts_longer_than_the_window(settings: dict[str, Any]) -> None:
    """Such layers do not attend to all tokens, so whole examples run."""
    base = make_tiny_base()
    with_window(base, 12)
    assert compare_with_reference(base, replace(LORA, **settings)) <= SINGLE


@pytest.mark.parametrize("settings", [{"active": "answer"}, {"top_layers": 1}, {}])
def test_train_many_continues_rows_that_fit_the_window(settings: dict[str, Any]) -> None:
    """Together with the padding of another row, the tokens before a row are wider than it."""
    base = make_tiny_base()
    opening, call = tuple(range(60, 80)), encode_invocation(base.tokenizer)
    prompts = [(*opening, 1, *call), (*opening, 2, *call), (*range(100, 130), *call)]
    answers = [tuple(range(140, 152)), tuple(range(150, 162)), (33,)]
    pairs = zip(prompts, answers, strict=True)
    examples = tuple(Example((*prompt, *answer), len(prompt)) for prompt, answer in pairs)
    with_window(base, max(len(example.ids) for example in examples))
    jobs = [TrainingJob(person="p", examples=examples)]
    assert compare_with_reference(base, replace(LORA, **settings), jobs=jobs) <= SINGLE


def with_window(base: Base, tokens: int) -> None:
    """Give the base's first layer a sliding window."""
    base.model.config.sliding_window = tokens
    base.model.config.layer_types = ["sliding_attention", "full_attention"]


def test_train_many_refuses_packed_layout_that_is_not_right() -> None:
    base = make_tiny_base()
    base = replace(base, ways=Ways(packed=False, reasons={"packed": "gradients differ by 0.3"}))
    with record_ids(base) as seen, pytest.raises(UsageError) as caught:
        train_many(base, make_jobs(), LORA, CONFIG, EngineConfig(layout="packed"))
    assert str(caught.value) == (
        "engine.layout 'packed': not right on tiny-0 (gradients differ by 0.3); use 'auto' or "
        "'rows'"
    )
    assert not seen


def test_train_many_refuses_packed_layout_for_flat_targets() -> None:
    base = make_family_base("opt")
    base = replace(base, ways=replace(base.ways, packed=True))
    lora, engine = make_family_lora("opt"), EngineConfig(layout="packed")
    with pytest.raises(UsageError, match=r"'packed'.*tiny-opt.*'fc1'"):
        train_many(base, make_alike_jobs(base), lora, CONFIG, engine)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"active": "answer"}, r"lora\.active.*'fc1'"), ({"dropout": 0.5}, r"lora\.dropout.*'fc1'")],
)
def test_train_many_refuses_settings_that_flat_targets_lack(
    settings: dict[str, Any], message: str
) -> None:
    base, lora = make_family_base("opt"), make_family_lora("opt", **settings)
    with record_ids(base) as seen, pytest.raises(UsageError, match=message):
        train_many(base, make_alike_jobs(base), lora, CONFIG)
    assert not seen


def test_train_one_refuses_answers_on_flat_targets() -> None:
    base = make_family_base("opt")
    with pytest.raises(UsageError, match=r"lora\.active.*'fc1'"):
        train_one(base, make_alike_jobs(base)[0], make_family_lora("opt", active="answer"), CONFIG)


def test_lora_stack_takes_flat_targets_of_one_person_only() -> None:
    base, lora = make_family_base("opt"), make_family_lora("opt")
    stack = stack_adapters(base, [random_adapter(base, n, lora) for n in range(2)])
    with (
        pytest.raises(AssertionError, match="several people"),
        stack.activate(torch.tensor([0, 1])),
    ):
        pass
    with stack.activate(torch.tensor([1, 1])):
        pass


def test_uses_packing_obeys_ways() -> None:
    base = make_tiny_base()
    packed = EngineConfig(layout="packed")
    assert memory_plan.uses_packing(base, LORA, packed)
    base = replace(base, ways=Ways(packed=False))
    assert not memory_plan.uses_packing(base, LORA, packed)
