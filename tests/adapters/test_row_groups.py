"""Rows share a forward only where the base and the adapters allow it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from idiolect.adapters.row_groups import RowGrouper, list_flat_targets
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.models.ways import Ways
from idiolect.prompts.batch import batches_within_token_budget
from support.job_strategies import LORA

V_PROJ = "model.layers.1.self_attn.v_proj"
FLAT = Ways(flat_modules=frozenset({V_PROJ}))
rows = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30)), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


@given(rows=rows, budget=st.integers(1, 90))
@pytest.mark.parametrize(
    "ways",
    [Ways(), Ways(batched=False), Ways(left_padded=False), FLAT, replace(FLAT, batched=False)],
)
def test_iter_groups_gives_each_row_once_within_the_budget(
    base: Base, ways: Ways, rows: list[tuple[int, int]], budget: int
) -> None:
    owners, lengths = [owner for owner, _ in rows], [length for _, length in rows]
    grouper = RowGrouper.for_adapters(replace(base, ways=ways), LORA)
    groups = list(grouper.iter_groups(owners, lengths, budget))
    assert sorted(row for group in groups for row in group) == list(range(len(rows)))
    for group in groups:
        padded = len(group) * max(lengths[row] for row in group)
        assert len(group) == 1 or padded <= budget
        assert len(group) == 1 or ways.batched
        assert len({owners[row] for row in group}) == 1 or not ways.flat_modules
    if ways.batched and not ways.flat_modules:
        assert groups == list(batches_within_token_budget(lengths, budget))


@given(rows=rows, batch=st.integers(1, 5))
@pytest.mark.parametrize("ways", [Ways(), Ways(batched=False), Ways(left_padded=False), FLAT])
def test_iter_left_padded_groups_gives_each_row_once(
    base: Base, ways: Ways, rows: list[tuple[int, int]], batch: int
) -> None:
    owners, lengths = [owner for owner, _ in rows], [length for _, length in rows]
    grouper = RowGrouper.for_adapters(replace(base, ways=ways), LORA)
    groups = list(grouper.iter_left_padded_groups(owners, lengths, batch))
    assert sorted(row for group in groups for row in group) == list(range(len(rows)))
    for group in groups:
        assert len(group) <= (batch if ways.batched and ways.left_padded else 1)
        assert len({owners[row] for row in group}) == 1 or not ways.flat_modules


def test_row_grouper_separates_people_for_flat_targets_only(base: Base) -> None:
    base = replace(base, ways=FLAT)
    keys = replace(LORA, targets=("k_proj",))
    assert list_flat_targets(base, LORA) == (V_PROJ,)
    assert list_flat_targets(base, keys) == list_flat_targets(make_tiny_base(), LORA) == ()
    assert RowGrouper.for_adapters(base, LORA).separates_people
    assert not RowGrouper.for_adapters(base, keys).separates_people
    assert not RowGrouper.for_adapters(base, None).separates_people


def test_row_grouper_for_scoring_is_the_same_for_all_adapters(base: Base) -> None:
    """So a loss with an adapter and one without it come from forwards of the same rows."""
    assert RowGrouper.for_scoring(replace(base, ways=FLAT)).separates_people
    assert not RowGrouper.for_scoring(base).separates_people


def test_row_grouper_refuses_answers_on_flat_targets(base: Base) -> None:
    with pytest.raises(UsageError, match=r"lora\.active 'answer'.*tiny-0.*'v_proj'.*lora\.targets"):
        RowGrouper.for_adapters(replace(base, ways=FLAT), replace(LORA, active="answer"))
