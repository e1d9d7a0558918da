"""Shared prefixes: which prefixes are found, and that sharing them does not change the adapters."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.models.base import Base
from idiolect.prompts.render import Example
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.padded_layout import PaddedLayout
from idiolect.training.engine.shared_prefixes import (
    MIN_PREFIX_TOKENS,
    SharedPrefixes,
    find_shared_prefixes,
)
from idiolect.training.engine.train_many import train_many
from idiolect.training.jobs import TrainingJob
from idiolect.training.reference import train_one
from idiolect.training.schedule import TrainConfig
from support.job_strategies import (
    LORA,
    TOKENS,
    draw_jobs,
    draw_train_configs,
    engine_configs,
    make_exact_base,
    relative_difference,
)

EXACT = 1e-10
Prompts = list[tuple[int, ...]]

instructions = st.builds(
    lambda seed, size: tuple(random.Random(seed).sample(range(TOKENS), size)),
    st.integers(0, 10**6),
    st.integers(2 * MIN_PREFIX_TOKENS, 30),
)
"""Distinct tokens, for the reason given in ``job_strategies.draw_example``."""


@pytest.fixture(scope="module")
def base() -> Base:
    return make_exact_base()


def prepend_instruction(
    work: tuple[TrainingJob, ...], instruction: tuple[int, ...]
) -> tuple[TrainingJob, ...]:
    """Prepend an instruction to each prompt; half of it for each second person."""

    def prepend(e: Example, tokens: int) -> Example:
        return Example(instruction[:tokens] + e.ids, e.answer_start + tokens, e.label_counts)

    sizes = (len(instruction), len(instruction) // 2)
    return tuple(
        replace(job, examples=tuple(prepend(e, sizes[number % 2]) for e in job.examples))
        for number, job in enumerate(work)
    )


@settings(max_examples=60)
@given(
    work=draw_jobs(), config=draw_train_configs(), engine=engine_configs, instruction=instructions
)
def test_train_many_with_shared_prefixes_equals_reference(
    base: Base,
    work: tuple[TrainingJob, ...],
    config: TrainConfig,
    engine: EngineConfig,
    instruction: tuple[int, ...],
) -> None:
    work = prepend_instruction(work, instruction)
    for targets in (("q_proj", "v_proj"), ("k_proj", "down_proj")):
        lora = replace(LORA, targets=targets)
        for job, ours in zip(work, train_many(base, work, lora, config, engine), strict=True):
            alone = train_one(base, job, lora, config)
            assert relative_difference(ours.adapter, alone.adapter) <= EXACT
            assert ours.last_loss == pytest.approx(alone.last_loss, rel=1e-10)


def test_padded_layout_runs_each_prefix_once_per_step(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people, three forwards of rows per step: each prefix runs once, in its owner's slot."""
    instruction = tuple(range(12))
    examples = tuple(Example((*instruction, 20 + n, 30, 31), 13) for n in range(4))
    twins = [TrainingJob(person=name, examples=examples) for name in ("one", "other")]
    seen: list[SharedPrefixes] = []
    run = PaddedLayout._run_prefixes

    def record_prefixes(self: PaddedLayout, rows: object, prefixes: SharedPrefixes) -> object:
        seen.append(prefixes)
        return run(self, rows, prefixes)  # type: ignore[arg-type]

    monkeypatch.setattr(PaddedLayout, "_run_prefixes", record_prefixes)
    train_many(base, twins, LORA, TrainConfig(epochs=1), EngineConfig(forward_tokens=24))
    (prefixes,) = seen
    assert prefixes.ids == (instruction, instruction)


def count_saved_tokens(prefixes: SharedPrefixes) -> int:
    """Count the tokens that rows do not run themselves, minus the tokens of the prefixes."""
    return sum(map(prefixes.get_prefix_length, range(len(prefixes.prefix_of_row)))) - sum(
        map(len, prefixes.ids)
    )


def find_most_saved_tokens(prompts: Prompts) -> int:
    """Find the maximum by brute force: any set of rows may share its common prefix."""
    if len(prompts) < 2:
        return 0
    # Try each group that contains the first prompt, and solve the rest recursively.
    best = 0
    first, rest = prompts[0], prompts[1:]
    for size in range(len(rest) + 1):
        for chosen in combinations(range(len(rest)), size):
            group = [first, *(rest[i] for i in chosen)]
            common = 0
            while all(len(p) - 1 > common and p[common] == first[common] for p in group):
                common += 1
            gain = common * size if common >= MIN_PREFIX_TOKENS else 0
            others = [p for i, p in enumerate(rest) if i not in chosen]
            best = max(best, gain + find_most_saved_tokens(others))
    return best


similar_prompts = st.builds(
    lambda stem, branches, tails: [
        stem + branches[n % len(branches)] + tail for n, tail in enumerate(tails)
    ],
    st.lists(st.integers(0, 1), max_size=8).map(tuple),
    st.lists(st.lists(st.integers(0, 1), max_size=8).map(tuple), min_size=1, max_size=3),
    st.lists(st.lists(st.integers(2, 3), min_size=1, max_size=3).map(tuple), max_size=6),
)


@settings(max_examples=200)
@given(prompts=similar_prompts)
def test_find_shared_prefixes_saves_most_tokens(prompts: Prompts) -> None:
    prefixes = find_shared_prefixes(prompts, [0] * len(prompts), tokens=0)
    assert count_saved_tokens(prefixes) == find_most_saved_tokens(prompts)
    for row, prompt in enumerate(prompts):
        length = prefixes.get_prefix_length(row)
        assert length < len(prompt)
        if length:
            assert prefixes.ids[prefixes.prefix_of_row[row]] == prompt[:length]


def test_find_shared_prefixes_never_shares_between_owners(base: Base) -> None:
    prompts = [(*range(10), n) for n in range(4)]
    prefixes = find_shared_prefixes(prompts, ["a", "b", "a", "b"], tokens=44)
    assert prefixes.prefix_of_row == (0, 1, 0, 1)
    assert prefixes.ids == (tuple(range(10)),) * 2
    assert prefixes.select([1, 3]) == SharedPrefixes((tuple(range(10)),), (0, 0))


def test_find_shared_prefixes_returns_none_if_savings_are_small() -> None:
    prompts = [(*range(10), n) for n in range(2)]
    assert find_shared_prefixes(prompts, [0, 0], tokens=22).ids
    assert not find_shared_prefixes(prompts, [0, 0], tokens=2200).ids


@given(
    lengths=st.lists(st.integers(1, 9), max_size=5),
    budget=st.integers(1, 30),
    data=st.data(),
)
def test_iter_row_groups_yields_each_row_once_within_budget(
    lengths: list[int], budget: int, data: st.DataObject
) -> None:
    row = st.integers(-1, len(lengths) - 1)
    rows = data.draw(st.lists(row, max_size=8).map(tuple))
    prefixes = SharedPrefixes(tuple(tuple(range(n)) for n in lengths), rows)
    prefixes = prefixes.select(range(len(rows)))
    groups = list(prefixes.iter_row_groups(budget))
    assert sorted(r for group in groups for r in group) == list(range(len(rows)))
    for group in groups:
        group_prefixes = prefixes.select(group)
        assert (
            len(group_prefixes.ids) <= 1
            or len(group_prefixes.ids) * max(map(len, group_prefixes.ids)) <= budget
        )


@pytest.mark.finding("batch-mates")
def test_gather_past_key_values_gives_rows_without_prefix_zeros() -> None:
    """The mask hides them, but not a NaN of another person's prefix."""
    prefixes = SharedPrefixes(ids=((1, 2, 3), (4, 5)), prefix_of_row=(0, -1, 1))
    keys = torch.full((2, 1, 3, 4), float("nan"))
    keys[1] = 7.0
    keys.requires_grad_()
    found = prefixes.gather_past_key_values({0: (keys, keys)}, [0, 1, 2], keys.device)
    assert found is not None
    for part in found[0]:
        assert part[0].isnan().all() and not part[1].any() and (part[2] == 7).all()
    # A gradient that is not finite does not reach another row's prefix.
    found[0][0][1].backward(torch.full((1, 3, 4), float("nan")))
    assert keys.grad is not None and not keys.grad.any()
