"""First tokens that rows have in common: which are found, and that sharing them changes nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import combinations

import pytest
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
"""Tokens that differ, for the reason that ``drawn_jobs.examples`` gives."""


@pytest.fixture(scope="module")
def base() -> Base:
    return make_exact_base()


def introduced(
    work: tuple[TrainingJob, ...], instruction: tuple[int, ...]
) -> tuple[TrainingJob, ...]:
    """The same work, every prompt beginning with an instruction; every second person's with half
    of it."""

    def begin(e: Example, tokens: int) -> Example:
        return Example(instruction[:tokens] + e.ids, e.answer_start + tokens, e.label_counts)

    sizes = (len(instruction), len(instruction) // 2)
    return tuple(
        replace(job, examples=tuple(begin(e, sizes[number % 2]) for e in job.examples))
        for number, job in enumerate(work)
    )


@settings(max_examples=60)
@given(
    work=draw_jobs(), config=draw_train_configs(), engine=engine_configs, instruction=instructions
)
def test_sharing_changes_nobody(
    base: Base,
    work: tuple[TrainingJob, ...],
    config: TrainConfig,
    engine: EngineConfig,
    instruction: tuple[int, ...],
) -> None:
    work = introduced(work, instruction)
    for targets in (("q_proj", "v_proj"), ("k_proj", "down_proj")):
        lora = replace(LORA, targets=targets)
        for job, ours in zip(work, train_many(base, work, lora, config, engine), strict=True):
            alone = train_one(base, job, lora, config)
            assert relative_difference(ours.adapter, alone.adapter) <= EXACT
            assert ours.last_loss == pytest.approx(alone.last_loss, rel=1e-10)


def test_a_head_runs_once_a_step(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two people, three forwards of rows each step: every head is run once, with its own owner."""
    instruction = tuple(range(12))
    examples = tuple(Example((*instruction, 20 + n, 30, 31), 13) for n in range(4))
    twins = [TrainingJob(person=name, examples=examples) for name in ("one", "other")]
    seen: list[SharedPrefixes] = []
    run = PaddedLayout._run_prefixes

    def noted(self: PaddedLayout, rows: object, heads: SharedPrefixes) -> object:
        seen.append(heads)
        return run(self, rows, heads)  # type: ignore[arg-type]

    monkeypatch.setattr(PaddedLayout, "_run_prefixes", noted)
    train_many(base, twins, LORA, TrainConfig(epochs=1), EngineConfig(forward_tokens=24))
    (heads,) = seen
    assert heads.ids == (instruction, instruction)


def saved(heads: SharedPrefixes) -> int:
    return sum(map(heads.get_prefix_length, range(len(heads.prefix_of_row)))) - sum(
        map(len, heads.ids)
    )


def most_saved(prompts: Prompts) -> int:
    """The obvious way: any set of rows may share what all of it have in common."""
    if len(prompts) < 2:
        return 0
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
            best = max(best, gain + most_saved(others))
    return best


prompts_alike = st.builds(
    lambda stem, branches, tails: [
        stem + branches[n % len(branches)] + tail for n, tail in enumerate(tails)
    ],
    st.lists(st.integers(0, 1), max_size=8).map(tuple),
    st.lists(st.lists(st.integers(0, 1), max_size=8).map(tuple), min_size=1, max_size=3),
    st.lists(st.lists(st.integers(2, 3), min_size=1, max_size=3).map(tuple), max_size=6),
)


@settings(max_examples=200)
@given(prompts=prompts_alike)
def test_no_other_heads_save_more(prompts: Prompts) -> None:
    heads = find_shared_prefixes(prompts, [0] * len(prompts), tokens=0)
    assert saved(heads) == most_saved(prompts)
    for row, prompt in enumerate(prompts):
        length = heads.get_prefix_length(row)
        assert length < len(prompt)
        if length:
            assert heads.ids[heads.prefix_of_row[row]] == prompt[:length]


def test_nobody_shares_with_another(base: Base) -> None:
    prompts = [(*range(10), n) for n in range(4)]
    heads = find_shared_prefixes(prompts, ["a", "b", "a", "b"], tokens=44)
    assert heads.prefix_of_row == (0, 1, 0, 1)
    assert heads.ids == (tuple(range(10)),) * 2
    assert heads.select([1, 3]) == SharedPrefixes((tuple(range(10)),), (0, 0))


def test_little_is_not_worth_it() -> None:
    prompts = [(*range(10), n) for n in range(2)]
    assert find_shared_prefixes(prompts, [0, 0], tokens=22).ids
    assert not find_shared_prefixes(prompts, [0, 0], tokens=2200).ids


@given(
    lengths=st.lists(st.integers(1, 9), max_size=5),
    budget=st.integers(1, 30),
    data=st.data(),
)
def test_parcels_hold_every_row_once(lengths: list[int], budget: int, data: st.DataObject) -> None:
    row = st.integers(-1, len(lengths) - 1)
    rows = data.draw(st.lists(row, max_size=8).map(tuple))
    heads = SharedPrefixes(tuple(tuple(range(n)) for n in lengths), rows)
    heads = heads.select(range(len(rows)))
    groups = list(heads.iter_row_groups(budget))
    assert sorted(r for group in groups for r in group) == list(range(len(rows)))
    for group in groups:
        theirs = heads.select(group)
        assert len(theirs.ids) <= 1 or len(theirs.ids) * max(map(len, theirs.ids)) <= budget
