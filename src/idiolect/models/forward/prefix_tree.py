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

MAX_GROUP_TOKENS = 4096
"""Tokens of a group of spans, those in front of them and padding included: what a group's scores
take stays in the caches."""

MAX_PADDING_FACTOR = 1.5
"""A group's scores may be so many times those of its spans without padding."""


@dataclass(frozen=True, slots=True)
class TreeNode:
    """Tokens that stand one behind another."""

    ids: tuple[int, ...]
    """At least one."""
    parent: int = -1
    """The number of the span that they go on from, an earlier one; -1 for none."""


@dataclass(frozen=True, slots=True, eq=False)
class AttentionGroup:
    """Spans that attend in one product."""

    token_indices: Tensor
    """Each span's tokens [B, S], any behind its end."""
    prefix_indices: Tensor
    """The tokens in front of each [B, P], any behind their end."""
    mask: Tensor
    """What is added to attention scores [B, 1, S, P + S]."""
    unpadded_positions: Tensor
    """Which of the flattened ``own`` are no padding [M]."""
    output_indices: Tensor
    """Which tokens these are [M]."""


@dataclass(frozen=True, slots=True, eq=False)
class PrefixTree:
    """Spans as tensors."""

    ids: Tensor
    """The tokens [N], span after span."""
    positions: Tensor
    """Each token's position in its text [N]."""
    node_starts: tuple[int, ...]
    """Where each span begins among the tokens."""
    prefix_lengths: tuple[int, ...]
    """How many tokens stand in front of each span."""
    groups: tuple[AttentionGroup, ...]

    @classmethod
    def from_nodes(cls, spans: Sequence[TreeNode], base: Base) -> PrefixTree:
        """The spans laid out for a base, in order."""
        begins: list[int] = []
        depths: list[int] = []
        places: list[tuple[int, ...]] = []  # of a span's tokens, and of all in front of them
        count = 0
        for number, span in enumerate(spans):
            assert span.ids and span.parent < number
            begins.append(count)
            front = places[span.parent] if span.parent >= 0 else ()
            depths.append(len(front))
            places.append((*front, *range(count, count + len(span.ids))))
            count += len(span.ids)
        positions = [d + n for d, s in zip(depths, spans, strict=True) for n in range(len(s.ids))]
        whole = _merge_chains(spans, depths)
        sizes, fronts = [len(places[n]) for n, _ in whole], [front for _, front in whole]
        device = base.device
        return cls(
            ids=torch.tensor([token for span in spans for token in span.ids], device=device),
            positions=torch.tensor(positions, device=device),
            node_starts=tuple(begins),
            prefix_lengths=tuple(depths),
            groups=tuple(
                _build_group([places[whole[n][0]] for n in some], [fronts[n] for n in some], base)
                for some in _group_by_size(sizes, fronts)
            ),
        )


def forward_tree(base: Base, tree: PrefixTree) -> Tensor:
    """The decoder's hidden states [N, D] of a tree; ask ``partial.sees_all`` first."""
    decoder: Any = base.model.get_decoder()
    with attention.use_attention(base.model, NAME):
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
    tree: PrefixTree,
    **options: Any,
) -> tuple[Tensor, None]:
    """What every token sees of its own text [1, N, H, d], from queries [1, H, N, d], keys and
    values [1, K, N, d]; as ``attention.attend``, which says what is refused."""
    assert attention_mask is None
    seen = query.new_empty(query.shape[2], query.shape[1], query.shape[3])
    for group in tree.groups:
        front = None
        if group.prefix_indices.shape[1]:
            front = {
                module.layer_idx: (
                    _gather_tokens(key, group.prefix_indices),
                    _gather_tokens(value, group.prefix_indices),
                )
            }
        q, k, v = (_gather_tokens(part, group.token_indices) for part in (query, key, value))
        some, _ = attention.attend_grouped(module, q, k, v, group.mask, front=front, **options)
        seen[group.output_indices] = some.flatten(0, 1)[group.unpadded_positions]
    return seen[None], None


def _gather_tokens(part: Tensor, places: Tensor) -> Tensor:
    """Of [1, H, N, d] what stands at the places [B, S]: [B, H, S, d]. Taken token by token, as they
    lie in memory: head by head all of them would be copied first, for each group."""
    found = part[0].transpose(0, 1).index_select(0, places.flatten())
    return found.view(*places.shape, *found.shape[1:]).transpose(1, 2)


def _merge_chains(spans: Sequence[TreeNode], depths: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of spans that attend as one, since each is all that goes on from the one before: the
    last one's number, and how many tokens stand in front of the first."""
    followers = Counter(span.parent for span in spans)
    fronts = [*depths]
    for n, span in enumerate(spans):
        if span.parent >= 0 and followers[span.parent] == 1:
            fronts[n] = fronts[span.parent]
    return [(n, fronts[n]) for n in range(len(spans)) if followers[n] != 1]


def _group_by_size(sizes: Sequence[int], depths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of spans in groups of like size (tokens with those in front), so that a group has at
    most ``GROUP`` tokens (or one span) and little more scores than its spans alone."""
    some: list[int] = []
    own = front = scores = 0
    for n in sorted(range(len(sizes)), key=lambda n: (sizes[n], depths[n], n)):
        size = sizes[n] - depths[n]
        own, front, scores = max(own, size), max(front, depths[n]), scores + size * sizes[n]
        tokens = (len(some) + 1) * (own + front)
        if some and (
            tokens > MAX_GROUP_TOKENS
            or own * tokens > MAX_PADDING_FACTOR * scores + MAX_GROUP_TOKENS
        ):
            yield some
            some, own, front, scores = [], size, depths[n], size * sizes[n]
        some.append(n)
    if some:
        yield some


def _build_group(
    places: Sequence[tuple[int, ...]], depths: Sequence[int], base: Base
) -> AttentionGroup:
    """Spans by the places of their tokens and of those in front."""
    own, sizes = _pad_sequences([p[d:] for p, d in zip(places, depths, strict=True)])
    front, before = _pad_sequences([p[:d] for p, d in zip(places, depths, strict=True)])
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
    return AttentionGroup(
        token_indices=own.to(to),
        prefix_indices=front.to(to),
        mask=mask[:, None].to(to),
        unpadded_positions=real.to(to),
        output_indices=own.flatten()[real].to(to),
    )


def _pad_sequences(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Rows of numbers [B, longest], zeros behind each, and their lengths [B]."""
    tensors = [torch.tensor(row, dtype=torch.long) for row in rows]
    return pad_sequence(tensors, batch_first=True), torch.tensor([len(row) for row in rows])


AttentionInterface.register(NAME, attend_tree)
