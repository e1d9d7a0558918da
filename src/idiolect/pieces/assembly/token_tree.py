"""Newcomers' items as one tree of tokens: whose updates act where, and where answers are predicted.

First tokens that a newcomer's rows have in common run once. Where adapters act on answers alone,
prompts are the bare base's: equal ones, and what they begin with, run once for everybody.

Shapes: ``P`` newcomers, ``N`` tokens of the tree, ``M`` positions that predict answer tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from idiolect.models.base import Base
from idiolect.models.forward.prefix_tree import PrefixTree, TreeNode
from idiolect.pieces.assembly.newcomers import TargetUser
from idiolect.prompts.chat_template import encode_invocation, find_invocation
from idiolect.prompts.render import Example
from idiolect.training.engine.shared_prefixes import find_shared_prefixes

TokenIds = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TokenTree:
    """Some newcomers' rows, ready to run."""

    tree: PrefixTree
    acting_ranges: tuple[tuple[int, int], ...]
    """Each newcomer's tokens on which their update acts: from, to."""
    predicting_tokens: Tensor
    """The tokens that predict answer tokens [M]."""
    token_weights: Tensor
    """What each of these counts for each newcomer [P, M], fp64: items alike, an item's alike."""


def build_token_tree(
    base: Base, newcomers: Sequence[TargetUser], *, answers_only: bool
) -> TokenTree:
    """The newcomers' rows up to what predicts their last tokens.

    Raises UsageError with ``answers_only`` for a text that asks for no answer.
    """
    spans: list[TreeNode] = []
    call = encode_invocation(base.tokenizer) if answers_only else ()
    starts = [
        [find_invocation(e.ids[: e.answer_start], call) if answers_only else 0 for e in n.examples]
        for n in newcomers
    ]
    prompts = dict.fromkeys(
        e.ids[:start]
        for n, theirs in zip(newcomers, starts, strict=True)
        for e, start in zip(n.examples, theirs, strict=True)
        if start
    )
    behind = {(): -1} | dict(zip(prompts, _append_rows(spans, [*prompts], [*prompts]), strict=True))
    first_acting = len(spans)
    last: list[int] = []
    rows: list[list[int]] = []  # the span that each item ends with
    for newcomer, theirs in zip(newcomers, starts, strict=True):
        if answers_only:
            rows.append([])
            for e, start in zip(newcomer.examples, theirs, strict=True):
                rows[-1].append(len(spans))
                spans.append(TreeNode(e.ids[start:-1], behind[e.ids[:start]]))
        else:
            own = [e.ids[: e.answer_start] for e in newcomer.examples]
            rows.append(_append_rows(spans, [e.ids[:-1] for e in newcomer.examples], own))
        last.append(len(spans))
    tree = PrefixTree.from_nodes(spans, base)
    ends = [*tree.node_starts, len(tree.ids)]
    bounds = [ends[first_acting], *(ends[n] for n in last)]
    places = [
        [_find_predicting_tokens(tree, span, e) for span, e in zip(theirs, n.examples, strict=True)]
        for n, theirs in zip(newcomers, rows, strict=True)
    ]
    return TokenTree(
        tree=tree,
        acting_ranges=tuple(pairwise(bounds)),
        predicting_tokens=torch.tensor(
            [place for theirs in places for item in theirs for place in item], device=base.device
        ),
        token_weights=_compute_token_weights(newcomers).to(base.device),
    )


def _append_rows(
    spans: list[TreeNode], rows: Sequence[TokenIds], prompts: Sequence[TokenIds]
) -> list[int]:
    """Put rows into ``spans``, behind what their prompts have in common; gives their numbers."""
    heads = find_shared_prefixes(prompts, [None] * len(prompts), tokens=0)
    first = len(spans)
    spans += [TreeNode(head) for head in heads.ids]
    numbers = range(len(spans), len(spans) + len(rows))
    for n, row in enumerate(rows):
        at = heads.prefix_of_row[n]
        spans.append(TreeNode(row[heads.get_prefix_length(n) :], first + at if at >= 0 else -1))
    return list(numbers)


def _find_predicting_tokens(tree: PrefixTree, span: int, example: Example) -> range:
    """The tokens that predict an example's targets, which its last span holds."""
    begin = tree.node_starts[span] - tree.prefix_lengths[span]
    return range(begin + example.answer_start - 1, begin + len(example.ids) - 1)


def _compute_token_weights(newcomers: Sequence[TargetUser]) -> Tensor:
    """The mean over items of the mean over positions, as weights [P, M]; an item that stands for
    several answers counts as often."""
    items = [(n, e) for n, newcomer in enumerate(newcomers) for e in newcomer.examples]
    answers = [sum(e.num_answers for e in newcomer.examples) for newcomer in newcomers]
    sizes = torch.tensor([len(e.ids) - e.answer_start for _, e in items])
    each = torch.tensor([e.num_answers / answers[n] for n, e in items], dtype=torch.float64) / sizes
    owner = torch.tensor([n for n, _ in items]).repeat_interleave(sizes)
    share = torch.zeros(len(newcomers), len(owner), dtype=torch.float64)
    share[owner, torch.arange(len(owner))] = each.repeat_interleave(sizes)
    return share
