"""A tree of spans in one forward: as each text alone, and each span run once."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.models.base import Base
from idiolect.models.forward import prefix_tree
from idiolect.models.forward.prefix_tree import Span, Tree, run_tree
from support.job_strategies import exact_base


@pytest.fixture(scope="module")
def base() -> Base:
    return exact_base()


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    """Up to nine spans of any length, each behind none or any earlier one."""
    generator = random.Random(draw(st.integers(0, 10**6)))
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=9))
    return [
        Span(tuple(generator.choices(range(200), k=size)), draw(st.integers(-1, n - 1)))
        for n, size in enumerate(sizes)
    ]


def text(spans: list[Span], number: int) -> tuple[int, ...]:
    """A span's tokens with all in front of them."""
    span = spans[number]
    return (*(text(spans, span.behind) if span.behind >= 0 else ()), *span.ids)


@torch.no_grad()
@settings(max_examples=50)
@given(spans=spans(), group=st.sampled_from([1, 20, 4096]))
def test_every_text_is_as_alone(base: Base, spans: list[Span], group: int) -> None:
    decoder: Any = base.model.get_decoder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix_tree, "GROUP", group)
        laid = Tree.of(spans, base)
    assert len(laid.ids) == sum(len(span.ids) for span in spans)
    hidden = run_tree(base, laid)
    for number, span in enumerate(spans):
        ids = torch.tensor([text(spans, number)])
        alone = decoder(input_ids=ids, use_cache=False).last_hidden_state[0, -len(span.ids) :]
        begin = laid.begins[number]
        found = hidden[begin : begin + len(span.ids)]
        assert torch.allclose(found, alone, rtol=0, atol=1e-10)
        assert laid.depths[number] == ids.shape[1] - len(span.ids)


@torch.no_grad()
def test_a_span_runs_once_and_groups_hold_what_they_may(base: Base) -> None:
    spans = [Span(tuple(range(100))), *(Span((100 + n,), 0) for n in range(60))]
    laid = Tree.of(spans, base)
    assert len(laid.ids) == 160
    assert all(len(g.own) * (g.own.shape[1] + g.front.shape[1]) <= 4096 for g in laid.groups)
    assert [len(g.own) for g in laid.groups] == [1, 40, 20]  # none padded to the opening's length
    assert sum(len(g.own) for g in laid.groups) == len(spans)
    usual = base.model.config._attn_implementation
    run_tree(base, laid)
    assert base.model.config._attn_implementation == usual


def test_what_one_span_alone_goes_on_from_attends_with_it(base: Base) -> None:
    line = [Span((1, 2, 3)), Span((4, 5), 0), Span((6,), 1)]
    (group,) = Tree.of(line, base).groups
    assert group.own.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert group.front.shape[1] == 0
    forked = [*line, Span((7,), 1)]
    (group,) = Tree.of(forked, base).groups
    assert group.own[:, 0].tolist() == [0, 5, 6]  # what both go on from, and each branch
    assert group.front[1].tolist() == [0, 1, 2, 3, 4]
