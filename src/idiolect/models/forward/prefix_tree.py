"""Rows that begin alike in one forward, without padding: a tree of spans of tokens.

A span runs once, however many others go on from it, and all of them pass each layer together. So
whatever is found on the way (in ``pieces``: which updates a person's tokens get) can rest on all of
a person's rows, and holds for what they have in common. Attention is one of transformers' attention
functions again (as ``attention.py``): spans of like length in groups, the others' keys and values
in front of them.

Shapes: ``N`` tokens of all spans; ``B`` spans of a group, ``S`` tokens of its longest, ``P`` most
tokens in front of one; ``H`` heads in ``K`` groups that share keys and values, ``d``/``D`` widths
of a head and of the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import AttentionInterface

from idiolect.models import attention
from idiolect.models.base import Base

NAME = "idiolect-tree"
"""What ``attn_implementation`` is called with. No mask function goes by this name, so transformers
makes no mask."""

GROUP = 4096
"""Tokens of a group of spans, those in front of them and padding included: what a group's scores
take stays in the caches."""

PADDED = 1.5
"""A group's scores may be so many times those of its spans without padding."""


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens that stand one behind another."""

    ids: tuple[int, ...]
    """At least one."""
    behind: int = -1
    """The number of the span that they go on from, an earlier one; -1 for none."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Spans that attend in one product."""

    own: Tensor
    """Each span's tokens [B, S], any behind its end."""
    front: Tensor
    """The tokens in front of each [B, P], any behind their end."""
    mask: Tensor
    """What is added to attention scores [B, 1, S, P + S]."""
    real: Tensor
    """Which of the flattened ``own`` are no padding [M]."""
    to: Tensor
    """Which tokens these are [M]."""


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """Spans as tensors."""

    ids: Tensor
    """The tokens [N], span after span."""
    positions: Tensor
    """Each token's position in its text [N]."""
    begins: tuple[int, ...]
    """Where each span begins among the tokens."""
    depths: tuple[int, ...]
    """How many tokens stand in front of each span."""
    groups: tuple[Group, ...]

    @classmethod
    def of(cls, spans: Sequence[Span], base: Base) -> Tree:
        """The spans laid out for a base, in order."""
        begins: list[int] = []
        depths: list[int] = []
        places: list[tuple[int, ...]] = []  # of a span's tokens, and of all in front of them
        count = 0
        for number, span in enumerate(spans):
            assert span.ids and span.behind < number
            begins.append(count)
            front = places[span.behind] if span.behind >= 0 else ()
            depths.append(len(front))
            places.append((*front, *range(count, count + len(span.ids))))
            count += len(span.ids)
        positions = [d + n for d, s in zip(depths, spans, strict=True) for n in range(len(s.ids))]
        whole = _whole(spans, depths)
        sizes, fronts = [len(places[n]) for n, _ in whole], [front for _, front in whole]
        device = base.device
        return cls(
            ids=torch.tensor([token for span in spans for token in span.ids], device=device),
            positions=torch.tensor(positions, device=device),
            begins=tuple(begins),
            depths=tuple(depths),
            groups=tuple(
                _group([places[whole[n][0]] for n in some], [fronts[n] for n in some], base)
                for some in _alike(sizes, fronts)
            ),
        )


def run_tree(base: Base, tree: Tree) -> Tensor:
    """The decoder's hidden states [N, D] of a tree; ask ``partial.sees_all`` first."""
    decoder: Any = base.model.get_decoder()
    with attention.applied(base.model, NAME):
        hidden = decoder(
            input_ids=tree.ids[None],
            position_ids=tree.positions[None],
            use_cache=False,
            tree=tree,
        ).last_hidden_state
    return hidden[0]


def attend_tree(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    tree: Tree,
    **options: Any,
) -> tuple[Tensor, None]:
    """What every token sees of its own text [1, N, H, d], from queries [1, H, N, d], keys and
    values [1, K, N, d]; as ``attention.attend``, which says what is refused."""
    assert attention_mask is None
    seen = query.new_empty(query.shape[2], query.shape[1], query.shape[3])
    for group in tree.groups:
        front = None
        if group.front.shape[1]:
            front = {module.layer_idx: (_taken(key, group.front), _taken(value, group.front))}
        q, k, v = (_taken(part, group.own) for part in (query, key, value))
        some, _ = attention.attend(module, q, k, v, group.mask, front=front, **options)
        seen[group.to] = some.flatten(0, 1)[group.real]
    return seen[None], None


def _taken(part: Tensor, places: Tensor) -> Tensor:
    """Of [1, H, N, d] what stands at the places [B, S]: [B, H, S, d]. Taken token by token, as they
    lie in memory: head by head all of them would be copied first, for each group."""
    found = part[0].transpose(0, 1).index_select(0, places.flatten())
    return found.view(*places.shape, *found.shape[1:]).transpose(1, 2)


def _whole(spans: Sequence[Span], depths: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of spans that attend as one, since each is all that goes on from the one before: the
    last one's number, and how many tokens stand in front of the first."""
    followers = Counter(span.behind for span in spans)
    fronts = [*depths]
    for n, span in enumerate(spans):
        if span.behind >= 0 and followers[span.behind] == 1:
            fronts[n] = fronts[span.behind]
    return [(n, fronts[n]) for n in range(len(spans)) if followers[n] != 1]


def _alike(sizes: Sequence[int], depths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of spans in groups of like size (tokens with those in front), so that a group has at
    most ``GROUP`` tokens (or one span) and little more scores than its spans alone."""
    some: list[int] = []
    own = front = scores = 0
    for n in sorted(range(len(sizes)), key=lambda n: (sizes[n], depths[n], n)):
        size = sizes[n] - depths[n]
        own, front, scores = max(own, size), max(front, depths[n]), scores + size * sizes[n]
        tokens = (len(some) + 1) * (own + front)
        if some and (tokens > GROUP or own * tokens > PADDED * scores + GROUP):
            yield some
            some, own, front, scores = [], size, depths[n], size * sizes[n]
        some.append(n)
    if some:
        yield some


def _group(places: Sequence[tuple[int, ...]], depths: Sequence[int], base: Base) -> Group:
    """Spans by the places of their tokens and of those in front."""
    own, sizes = _padded([p[d:] for p, d in zip(places, depths, strict=True)])
    front, before = _padded([p[:d] for p, d in zip(places, depths, strict=True)])
    width = own.shape[1]
    behind = torch.arange(front.shape[1]) < before[:, None]  # [B, P]
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    seen = torch.cat(
        [behind[:, None].expand(-1, width, -1), causal.expand(len(places), -1, -1)], dim=2
    )
    mask = torch.zeros(seen.shape, dtype=base.dtype).masked_fill_(
        ~seen, torch.finfo(base.dtype).min
    )
    real = (torch.arange(width) < sizes[:, None]).flatten().nonzero()[:, 0]
    to = base.device
    return Group(
        own=own.to(to),
        front=front.to(to),
        mask=mask[:, None].to(to),
        real=real.to(to),
        to=own.flatten()[real].to(to),
    )


def _padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of numbers [B, longest], zeros behind each, and their lengths [B]."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return pad_sequence(tensors, batch_first=True), torch.tensor([len(row) for row in rows])


AttentionInterface.register(NAME, attend_tree)
