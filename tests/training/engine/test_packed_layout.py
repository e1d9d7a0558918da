"""The packed layout: invariant 1 holds as for padded rows, on the code that GPUs run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.stacks import ops_packed
from idiolect.events import Event, Progress
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.render import Example
from idiolect.training.engine.config import EngineConfig
from idiolect.training.engine.packed_layout import (
    PackedLayout,
    pack_sequences,
    split_by_token_budget,
)
from idiolect.training.engine.padded_layout import BatchRow, PaddedLayout, TokenLosses
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

EXACT, SINGLE, STEADY = 1e-10, 1e-5, 1e-2
"""As in ``test_train_many.py``."""
WIDE = replace(LORA, rank=4)
"""Wide enough for grouped matrix products; the rank of the other tests is too small."""

rows = st.lists(
    st.builds(
        lambda slot, length, answer: BatchRow(
            slot, Example(tuple(range(length + answer)), length), 0
        ),
        st.integers(0, 3),
        st.integers(1, 8),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def base() -> Base:
    return make_exact_base()


@pytest.fixture(scope="module")
def base32() -> Base:
    return make_tiny_base()


@pytest.fixture
def packed_forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the number of rows of each call of the packed layout."""
    seen: list[int] = []
    forwards = PackedLayout.iter_forwards

    def record_rows(self: PackedLayout, rows: Sequence[BatchRow]) -> Iterator[TokenLosses]:
        seen.append(len(rows))
        return forwards(self, rows)

    monkeypatch.setattr(PackedLayout, "iter_forwards", record_rows)
    return seen


@settings(max_examples=60)
@given(work=draw_jobs(), config=draw_train_configs(), engine=engine_configs)
def test_train_many_packed_equals_padded_and_reference(
    base: Base, work: tuple[TrainingJob, ...], config: TrainConfig, engine: EngineConfig
) -> None:
    packed = train_many(base, work, LORA, config, replace(engine, layout="packed"))
    padded = train_many(base, work, LORA, config, replace(engine, layout="rows"))
    for job, ours, theirs in zip(work, packed, padded, strict=True):
        alone = train_one(base, job, LORA, config)
        assert relative_difference(ours.adapter, alone.adapter) <= EXACT
        assert relative_difference(ours.adapter, theirs.adapter) <= EXACT
        assert (ours.steps, ours.tokens) == (alone.steps, alone.tokens)
        assert ours.last_loss == pytest.approx(alone.last_loss, rel=1e-10)


@settings(max_examples=40)
@given(work=draw_jobs(), config=draw_train_configs(epsilon=STEADY), engine=engine_configs)
def test_train_many_packed_in_fp32_equals_reference(
    base32: Base, work: tuple[TrainingJob, ...], config: TrainConfig, engine: EngineConfig
) -> None:
    engine = replace(engine, layout="packed")
    for job, ours in zip(work, train_many(base32, work, WIDE, config, engine), strict=True):
        assert (
            relative_difference(ours.adapter, train_one(base32, job, WIDE, config).adapter)
            <= SINGLE
        )


def test_train_many_packed_in_fp32_uses_grouped_products(
    base32: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the test above covers the code of GPUs, not the fallback loop."""
    results: list[bool] = []
    can = ops_packed.can_use_grouped_mm
    monkeypatch.setattr(
        ops_packed, "can_use_grouped_mm", lambda *m: results.append(can(*m)) or results[-1]
    )
    config, engine = TrainConfig(batch=2, epochs=1), EngineConfig(layout="packed")
    train_many(base32, make_jobs(), WIDE, config, engine)
    assert results and all(results)


def test_train_many_packed_in_bf16_reaches_loss_of_padded() -> None:
    base, config = make_tiny_base(dtype=torch.bfloat16), TrainConfig(batch=16, epochs=6, rate=1e-2)
    lora = LoraConfig()
    packed, padded = (
        train_many(base, make_jobs(), lora, config, EngineConfig(layout=layout))
        for layout in ("packed", "rows")
    )
    for ours, theirs in zip(packed, padded, strict=True):
        assert ours.last_loss == pytest.approx(theirs.last_loss, rel=0.02)
        assert ours.last_loss < ours.first_loss


@settings(max_examples=20)
@given(
    work=draw_jobs(),
    engine=engine_configs,
    targets=st.sampled_from([("k_proj", "o_proj"), ("up_proj", "down_proj")]),
    shared=st.booleans(),
)
def test_train_many_packed_equals_reference_for_other_targets_and_shared_a(
    base: Base,
    work: tuple[TrainingJob, ...],
    engine: EngineConfig,
    targets: tuple[str, ...],
    shared: bool,
) -> None:
    lora, config = replace(LORA, targets=targets, shared_a=shared), TrainConfig(batch=3, epochs=2)
    engine = replace(engine, layout="packed")
    for job, ours in zip(work, train_many(base, work, lora, config, engine), strict=True):
        assert (
            relative_difference(ours.adapter, train_one(base, job, lora, config).adapter) <= EXACT
        )


def test_train_many_packed_packs_holdout_examples(base: Base, packed_forwards: list[int]) -> None:
    config = TrainConfig(batch=2, epochs=6, rate=0.05, patience=1)
    work = make_jobs(4)
    work = tuple(replace(job, holdout_examples=work[n - 1].examples) for n, job in enumerate(work))
    packed = train_many(base, work, LORA, config, EngineConfig(layout="packed"))
    assert {len(job.holdout_examples) for job in work} <= set(packed_forwards)
    for job, ours in zip(work, packed, strict=True):
        alone = train_one(base, job, LORA, config)
        assert (
            relative_difference(ours.adapter, alone.adapter) <= 1e-9 and ours.steps == alone.steps
        )


@pytest.mark.parametrize(
    ("lora", "layout", "packs"),
    [
        (LORA, "packed", True),
        (LORA, "rows", False),
        (LORA, "auto", False),
        (replace(LORA, dropout=0.1), "packed", False),
        (replace(LORA, top_layers=1), "packed", False),
    ],
    ids=["packed", "rows", "auto on a CPU", "dropout", "top layers"],
)
def test_train_many_packs_only_supported_settings(
    base: Base, packed_forwards: list[int], lora: LoraConfig, layout: str, packs: bool
) -> None:
    engine = EngineConfig(layout=layout)  # type: ignore[arg-type]
    train_many(base, make_jobs(2), lora, TrainConfig(batch=2, epochs=1), engine)
    assert bool(packed_forwards) is packs


def test_train_many_pads_rows_beyond_attention_window(
    packed_forwards: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decided per step: only steps whose longest row exceeds the window are padded."""
    base, config = make_exact_base(), TrainConfig(batch=1, epochs=1)
    window = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
    for name, value in window.items():
        monkeypatch.setattr(base.model.config, name, value, raising=False)
    short, long = (Example(tuple(range(n)), n - 2) for n in (8, 9))
    padded: list[int] = []
    forwards = PaddedLayout.iter_forwards

    def record_rows(self: PaddedLayout, rows: Sequence[BatchRow]) -> Iterator[TokenLosses]:
        padded.append(max(len(row.example.ids) for row in rows))
        return forwards(self, rows)

    monkeypatch.setattr(PaddedLayout, "iter_forwards", record_rows)
    work = [TrainingJob(person="p", examples=(short, long, short))]
    train_many(base, work, LORA, config, EngineConfig(layout="packed"))
    assert padded == [9] and packed_forwards == [1, 1]


@given(rows=rows, budget=st.integers(1, 40))
def test_split_by_token_budget_yields_each_row_once_within_budget(
    rows: list[BatchRow], budget: int
) -> None:
    found = list(split_by_token_budget(rows, budget))
    together = [row for group in found for row in group]
    assert sorted(map(id, together)) == sorted(map(id, rows))
    assert [row.slot for row in together] == sorted(row.slot for row in rows)
    for group in found:
        assert len(group) == 1 or sum(len(row.example.ids) - 1 for row in group) <= budget


@given(rows=rows)
def test_pack_sequences_holds_exactly_the_input_tokens(rows: list[BatchRow]) -> None:
    rows = sorted(rows, key=lambda row: row.slot)
    packed = pack_sequences(rows, torch.device("cpu"))
    assert packed.ids.tolist() == [t for row in rows for t in row.example.ids[:-1]]
    assert packed.spans.cu_seqlens[-1] == len(packed.ids) == sum(packed.sizes)
    owners = [slot for slot, n in zip(packed.slots, packed.sizes, strict=True) for _ in range(n)]
    assert owners == [row.slot for row in rows for _ in row.example.ids[:-1]]
    targets = [t for row in rows for t in row.example.ids[row.example.answer_start :]]
    assert packed.label.tolist() == targets
    # In these rows each token is its predecessor plus 1.
    assert (packed.ids[packed.position] + 1).tolist() == targets
    assert packed.slot.tolist() == [
        row.slot for row in rows for _ in row.example.ids[row.example.answer_start :]
    ]


class Crash(Exception):  # noqa: N818
    """Stops a run from outside."""


@pytest.mark.parametrize("at", [3, 5, 9])
def test_train_many_packed_resumes_after_crash_with_same_bits(
    base32: Base, at: int, tmp_path: Path
) -> None:
    """Also if the next call would choose other slots and tokens: those of the checkpoint are
    used."""
    config = TrainConfig(batch=2, epochs=3)
    engine = EngineConfig(slots=2, forward_tokens=40, layout="packed", checkpoint_seconds=0)
    whole = train_many(base32, make_jobs(), WIDE, config, engine)
    path, heard = tmp_path / "checkpoint", 0

    def crash(event: Event) -> None:
        nonlocal heard
        heard += isinstance(event, Progress)
        if heard == at:
            raise Crash

    with pytest.raises(Crash):
        train_many(base32, make_jobs(), WIDE, config, engine, checkpoint=path, listener=crash)
    assert path.exists()
    other = replace(engine, slots=0, forward_tokens=0)
    again = train_many(base32, make_jobs(), WIDE, config, other, checkpoint=path)
    for ours, expected in zip(again, whole, strict=True):
        assert bitwise_equal(ours.adapter, expected.adapter)
