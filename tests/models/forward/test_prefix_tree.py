"""One forward over a tree of spans equals each text alone, and runs each span once."""

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
from idiolect.models.structure import find_decoder
from support.job_strategies import make_exact_base


@pytest.fixture(scope="module")
def base() -> Base:
    return make_exact_base()


@st.composite
def draw_spans(draw: st.DrawFn) -> list[TreeNode]:
    """Draw up to nine spans of any length, each after none or any earlier one."""
    generator = random.Random(draw(st.integers(0, 10**6)))
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=9))
    return [
        TreeNode(tuple(generator.choices(range(200), k=size)), draw(st.integers(-1, n - 1)))
        for n, size in enumerate(sizes)
    ]


def join_text(spans: list[TreeNode], number: int) -> tuple[int, ...]:
    """Return a span's tokens after those of its prefix."""
    span = spans[number]
    return (*(join_text(spans, span.parent) if span.parent >= 0 else ()), *span.ids)


@torch.no_grad()
@settings(max_examples=50)
@given(spans=draw_spans(), group=st.sampled_from([1, 20, 4096]))
def test_forward_tree_equals_each_text_alone(base: Base, spans: list[TreeNode], group: int) -> None:
    decoder: Any = find_decoder(base.model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix_tree, "MAX_GROUP_TOKENS", group)
        tree = PrefixTree.from_nodes(spans, base)
    assert len(tree.ids) == sum(len(span.ids) for span in spans)
    hidden = forward_tree(base, tree)
    for number, span in enumerate(spans):
        ids = torch.tensor([join_text(spans, number)])
        # The span's own tokens at the end of its whole text.
        alone = decoder(input_ids=ids, use_cache=False).last_hidden_state[0, -len(span.ids) :]
        begin = tree.node_starts[number]
        found = hidden[begin : begin + len(span.ids)]
        assert torch.allclose(found, alone, rtol=0, atol=1e-10)
        assert tree.prefix_lengths[number] == ids.shape[1] - len(span.ids)


@torch.no_grad()
def test_from_nodes_runs_spans_once_in_bounded_groups(base: Base) -> None:
    spans = [TreeNode(tuple(range(100))), *(TreeNode((100 + n,), 0) for n in range(60))]
    tree = PrefixTree.from_nodes(spans, base)
    assert len(tree.ids) == 160
    assert all(
        len(g.token_indices) * (g.token_indices.shape[1] + g.prefix_indices.shape[1]) <= 4096
        for g in tree.groups
    )
    assert [len(g.token_indices) for g in tree.groups] == [
        1,
        40,
        20,
    ]  # no span is padded to the length of the shared prefix
    assert sum(len(g.token_indices) for g in tree.groups) == len(spans)
    usual = base.model.config._attn_implementation
    forward_tree(base, tree)
    assert base.model.config._attn_implementation == usual


def test_from_nodes_merges_chains_of_spans(base: Base) -> None:
    line = [TreeNode((1, 2, 3)), TreeNode((4, 5), 0), TreeNode((6,), 1)]
    (group,) = PrefixTree.from_nodes(line, base).groups
    assert group.token_indices.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert group.prefix_indices.shape[1] == 0
    forked = [*line, TreeNode((7,), 1)]
    (group,) = PrefixTree.from_nodes(forked, base).groups
    assert group.token_indices[:, 0].tolist() == [0, 5, 6]  # the shared chain, and each branch
    assert group.prefix_indices[1].tolist() == [0, 1, 2, 3, 4]
