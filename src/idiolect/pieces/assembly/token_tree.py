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
from idiolect.models.forward.prefix_tree import Span, Tree
from idiolect.pieces.assembly.newcomers import Newcomer
from idiolect.prompts.chat_template import invocation_of, invoked_at
from idiolect.prompts.render import Example
from idiolect.training.engine.shared_prefixes import shared_heads

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some newcomers' rows, ready to run."""

    tree: Tree
    acting: tuple[tuple[int, int], ...]
    """Each newcomer's tokens on which their update acts: from, to."""
    predicting: Tensor
    """The tokens that predict answer tokens [M]."""
    share: Tensor
    """What each of these counts for each newcomer [P, M], fp64: items alike, an item's alike."""


def lay_out(base: Base, newcomers: Sequence[Newcomer], *, answers_only: bool) -> Rows:
    """The newcomers' rows up to what predicts their last tokens.

    Raises UsageError with ``answers_only`` for a text that asks for no answer.
    """
    spans: list[Span] = []
    call = invocation_of(base.tokenizer) if answers_only else ()
    starts = [
        [invoked_at(e.ids[: e.answer_start], call) if answers_only else 0 for e in n.examples]
        for n in newcomers
    ]
    prompts = dict.fromkeys(
        e.ids[:start]
        for n, theirs in zip(newcomers, starts, strict=True)
        for e, start in zip(n.examples, theirs, strict=True)
        if start
    )
    behind = {(): -1} | dict(zip(prompts, _grown(spans, [*prompts], [*prompts]), strict=True))
    first_acting = len(spans)
    last: list[int] = []
    rows: list[list[int]] = []  # the span that each item ends with
    for newcomer, theirs in zip(newcomers, starts, strict=True):
        if answers_only:
            rows.append([])
            for e, start in zip(newcomer.examples, theirs, strict=True):
                rows[-1].append(len(spans))
                spans.append(Span(e.ids[start:-1], behind[e.ids[:start]]))
        else:
            own = [e.ids[: e.answer_start] for e in newcomer.examples]
            rows.append(_grown(spans, [e.ids[:-1] for e in newcomer.examples], own))
        last.append(len(spans))
    tree = Tree.of(spans, base)
    ends = [*tree.begins, len(tree.ids)]
    bounds = [ends[first_acting], *(ends[n] for n in last)]
    places = [
        [_predicting(tree, span, e) for span, e in zip(theirs, n.examples, strict=True)]
        for n, theirs in zip(newcomers, rows, strict=True)
    ]
    return Rows(
        tree=tree,
        acting=tuple(pairwise(bounds)),
        predicting=torch.tensor(
            [place for theirs in places for item in theirs for place in item], device=base.device
        ),
        share=_shares(newcomers).to(base.device),
    )


def _grown(spans: list[Span], rows: Sequence[Tokens], prompts: Sequence[Tokens]) -> list[int]:
    """Put rows into ``spans``, behind what their prompts have in common; gives their numbers."""
    heads = shared_heads(prompts, [None] * len(prompts), tokens=0)
    first = len(spans)
    spans += [Span(head) for head in heads.ids]
    numbers = range(len(spans), len(spans) + len(rows))
    for n, row in enumerate(rows):
        at = heads.of_row[n]
        spans.append(Span(row[heads.length(n) :], first + at if at >= 0 else -1))
    return list(numbers)


def _predicting(tree: Tree, span: int, example: Example) -> range:
    """The tokens that predict an example's targets, which its last span holds."""
    begin = tree.begins[span] - tree.depths[span]
    return range(begin + example.answer_start - 1, begin + len(example.ids) - 1)


def _shares(newcomers: Sequence[Newcomer]) -> Tensor:
    """The mean over items of the mean over positions, as weights [P, M]; an item that stands for
    several answers counts as often."""
    items = [(n, e) for n, newcomer in enumerate(newcomers) for e in newcomer.examples]
    answers = [sum(e.answers for e in newcomer.examples) for newcomer in newcomers]
    sizes = torch.tensor([len(e.ids) - e.answer_start for _, e in items])
    each = torch.tensor([e.answers / answers[n] for n, e in items], dtype=torch.float64) / sizes
    owner = torch.tensor([n for n, _ in items]).repeat_interleave(sizes)
    share = torch.zeros(len(newcomers), len(owner), dtype=torch.float64)
    share[owner, torch.arange(len(owner))] = each.repeat_interleave(sizes)
    return share
