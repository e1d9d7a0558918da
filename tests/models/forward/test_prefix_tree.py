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
from idiolect.models.forward.prefix_tree import PrefixTree, TreeNode, forward_tree
from support.job_strategies import make_exact_base


@pytest.fixture(scope="module")
def base() -> Base:
    return make_exact_base()


@st.composite
def spans(draw: st.DrawFn) -> list[TreeNode]:
    """Up to nine spans of any length, each behind none or any earlier one."""
    generator = random.Random(draw(st.integers(0, 10**6)))
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=9))
    return [
        TreeNode(tuple(generator.choices(range(200), k=size)), draw(st.integers(-1, n - 1)))
        for n, size in enumerate(sizes)
    ]


def text(spans: list[TreeNode], number: int) -> tuple[int, ...]:
    """A span's tokens with all in front of them."""
    span = spans[number]
    return (*(text(spans, span.parent) if span.parent >= 0 else ()), *span.ids)


@torch.no_grad()
@settings(max_examples=50)
@given(spans=spans(), group=st.sampled_from([1, 20, 4096]))
def test_every_text_is_as_alone(base: Base, spans: list[TreeNode], group: int) -> None:
    decoder: Any = base.model.get_decoder()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix_tree, "MAX_GROUP_TOKENS", group)
        laid = PrefixTree.from_nodes(spans, base)
    assert len(laid.ids) == sum(len(span.ids) for span in spans)
    hidden = forward_tree(base, laid)
    for number, span in enumerate(spans):
        ids = torch.tensor([text(spans, number)])
        alone = decoder(input_ids=ids, use_cache=False).last_hidden_state[0, -len(span.ids) :]
        begin = laid.node_starts[number]
        found = hidden[begin : begin + len(span.ids)]
        assert torch.allclose(found, alone, rtol=0, atol=1e-10)
        assert laid.prefix_lengths[number] == ids.shape[1] - len(span.ids)


@torch.no_grad()
def test_a_span_runs_once_and_groups_hold_what_they_may(base: Base) -> None:
    spans = [TreeNode(tuple(range(100))), *(TreeNode((100 + n,), 0) for n in range(60))]
    laid = PrefixTree.from_nodes(spans, base)
    assert len(laid.ids) == 160
    assert all(
        len(g.token_indices) * (g.token_indices.shape[1] + g.prefix_indices.shape[1]) <= 4096
        for g in laid.groups
    )
    assert [len(g.token_indices) for g in laid.groups] == [
        1,
        40,
        20,
    ]  # none padded to the opening's length
    assert sum(len(g.token_indices) for g in laid.groups) == len(spans)
    usual = base.model.config._attn_implementation
    forward_tree(base, laid)
    assert base.model.config._attn_implementation == usual


def test_what_one_span_alone_goes_on_from_attends_with_it(base: Base) -> None:
    line = [TreeNode((1, 2, 3)), TreeNode((4, 5), 0), TreeNode((6,), 1)]
    (group,) = PrefixTree.from_nodes(line, base).groups
    assert group.token_indices.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert group.prefix_indices.shape[1] == 0
    forked = [*line, TreeNode((7,), 1)]
    (group,) = PrefixTree.from_nodes(forked, base).groups
    assert group.token_indices[:, 0].tolist() == [0, 5, 6]  # what both go on from, and each branch
    assert group.prefix_indices[1].tolist() == [0, 1, 2, 3, 4]
