from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from idiolect.prompts.batch import batches_within_token_budget, collate
from idiolect.prompts.render import Example
from support.job_strategies import draw_example

CPU = torch.device("cpu")


@given(rows=st.lists(draw_example(), min_size=1, max_size=6))
def test_collate_places_targets_at_predicting_positions(rows: list[Example]) -> None:
    batch = collate(rows, pad=250, device=CPU)
    found: list[list[tuple[int, int, float]]] = [[] for _ in rows]
    columns = (batch.row, batch.position, batch.label, batch.count)
    # Collect the targets of each row.
    for row, position, label, count in zip(*(c.tolist() for c in columns), strict=True):
        found[row].append((position, label, count))
    for example, targets in zip(rows, found, strict=True):
        start, ids = example.answer_start, example.ids
        first = example.label_counts or ((ids[start], 1),)
        expected = [(start - 1, token, times) for token, times in first]
        expected += [(i - 1, ids[i], example.num_answers) for i in range(start + 1, len(ids))]
        assert targets == expected
        assert sum(count for *_, count in targets) == example.num_targets
    # Rows are padded on the right.
    longest = max(len(e.ids) for e in rows)
    assert batch.ids.shape == (len(rows), longest) and batch.num_tokens == len(rows) * longest
    for example, row in zip(rows, batch.ids.tolist(), strict=True):
        assert tuple(row) == example.ids + (250,) * (longest - len(example.ids))


@given(lengths=st.lists(st.integers(1, 60), max_size=40), budget=st.integers(1, 300))
def test_batches_within_token_budget_hold_every_row_once(lengths: list[int], budget: int) -> None:
    groups = list(batches_within_token_budget(lengths, budget))
    assert sorted(i for g in groups for i in g) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[i] for i in group) <= budget
    widths = [max(lengths[i] for i in g) for g in groups]
    assert widths == sorted(widths, reverse=True)
    for group in groups[:-1]:  # no group could take one more row
        assert (len(group) + 1) * max(lengths[i] for i in group) > budget
