"""One forward without padding of rows that share prefixes: a tree of token spans.

Each span runs once, however many rows continue it, and all spans of a person pass each layer
together. So anything that is computed per layer (in ``pieces``: which pieces a person's tokens use)
can depend on all of the person's rows. Attention is a transformers attention function (see
``attention.py``): spans of similar length form groups, with the keys and values of their prefixes
in front.

Shapes: ``N`` tokens of all spans; ``B`` spans of a group, ``S`` tokens of its longest span, ``P``
longest prefix of the group, ``M`` tokens of the group without padding; ``H`` query heads in ``K``
groups that share keys and values, ``d`` width of a head, ``D`` width of the model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from idiolect.models import attention
from idiolect.models.base import Base
from idiolect.models.structure import find_decoder

NAME = "idiolect-tree"
"""The value of ``attn_implementation`` that selects it. No mask function is registered under this
name, so transformers builds no mask."""

MAX_GROUP_TOKENS = 4096
"""The largest number of tokens of a group, with prefixes and padding, so that its scores stay in
the caches."""

MAX_PADDING_FACTOR = 1.5
"""The largest ratio of a group's scores to those of its spans without padding."""


@dataclass(frozen=True, slots=True)
class TreeNode:
    """A span of consecutive tokens."""

    ids: tuple[int, ...]
    """At least one."""
    parent: int = -1
    """The index of the span that it continues, an earlier one; -1 for none."""


@dataclass(frozen=True, slots=True, eq=False)
class AttentionGroup:
    """Spans that attend in one product."""

    token_indices: Tensor
    """The indices of each span's tokens [B, S]; in padding, the span's first token."""
    prefix_indices: Tensor
    """The indices of each span's prefix tokens [B, P]; in padding, the span's first token."""
    mask: Tensor
    """The additive attention mask [B, 1, S, P + S]."""
    unpadded_positions: Tensor
    """The positions [M] in the flattened ``token_indices`` that are not padding."""
    output_indices: Tensor
    """The token indices [M] of these positions."""


@dataclass(frozen=True, slots=True, eq=False)
class PrefixTree:
    """A tree of spans as tensors."""

    ids: Tensor
    """The token ids [N], span after span."""
    positions: Tensor
    """Each token's position in its text [N]."""
    node_starts: tuple[int, ...]
    """The index of each span's first token."""
    prefix_lengths: tuple[int, ...]
    """The number of tokens in front of each span."""
    groups: tuple[AttentionGroup, ...]

    @classmethod
    def from_nodes(cls, spans: Sequence[TreeNode], base: Base) -> PrefixTree:
        """Build the tensors of spans in this order, on the base's device."""
        starts: list[int] = []
        depths: list[int] = []
        span_indices: list[tuple[int, ...]] = []  # token indices of a span's prefix and of itself
        count = 0
        # Parents come first, so the indices of each prefix are known.
        for number, span in enumerate(spans):
            assert span.ids and span.parent < number
            starts.append(count)
            front = span_indices[span.parent] if span.parent >= 0 else ()
            depths.append(len(front))
            span_indices.append((*front, *range(count, count + len(span.ids))))
            count += len(span.ids)
        positions = [d + n for d, s in zip(depths, spans, strict=True) for n in range(len(s.ids))]
        # Attention runs on whole chains, in groups of similar size.
        chains = _merge_chains(spans, depths)
        sizes, fronts = [len(span_indices[n]) for n, _ in chains], [front for _, front in chains]
        device = base.device
        return cls(
            ids=torch.tensor([token for span in spans for token in span.ids], device=device),
            positions=torch.tensor(positions, device=device),
            node_starts=tuple(starts),
            prefix_lengths=tuple(depths),
            groups=tuple(
                _build_group(
                    [span_indices[chains[n][0]] for n in some], [fronts[n] for n in some], base
                )
                for some in _group_by_size(sizes, fronts)
            ),
        )


def forward_tree(base: Base, tree: PrefixTree) -> Tensor:
    """Return the decoder's hidden states [N, D] of a tree; check ``partial.has_full_attention``
    first. Raises MismatchError if trees are wrong for the base."""
    base.require_way("tree")
    decoder: Any = find_decoder(base.model)
    with attention.use_attention(base.model, NAME, tree=tree):
        hidden = decoder(
            input_ids=tree.ids[None],
            position_ids=tree.positions[None],
            use_cache=False,
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
    """Return the attention output [1, N, H, d], each token over its own text, of queries
    [1, H, N, d], keys and values [1, K, N, d]. Raises the same errors as
    ``attention.attend_grouped``."""
    attention.reject_unknown_tensors({"attention_mask": attention_mask})
    output_NHd = query.new_empty(query.shape[2], query.shape[1], query.shape[3])
    for group in tree.groups:
        # Keys and values of the prefixes, which other spans computed in this layer.
        front = None
        if group.prefix_indices.shape[1]:
            front = {
                module.layer_idx: (
                    _gather_tokens(key, group.prefix_indices),
                    _gather_tokens(value, group.prefix_indices),
                )
            }
        q, k, v = (_gather_tokens(part, group.token_indices) for part in (query, key, value))
        found, _ = attention.attend_grouped(module, q, k, v, group.mask, front=front, **options)
        # Drop the padding and write each token's output to its own index.
        output_NHd[group.output_indices] = found.flatten(0, 1)[group.unpadded_positions]
    return output_NHd[None], None


def _gather_tokens(part_1HNd: Tensor, indices_BS: Tensor) -> Tensor:
    """Return the tokens at these indices as [B, H, S, d].

    It gathers along the tokens, which are the outer dimension in memory. Gathering per head would
    first copy the whole tensor for each group.
    """
    found = part_1HNd[0].transpose(0, 1).index_select(0, indices_BS.flatten())
    return found.view(*indices_BS.shape, *found.shape[1:]).transpose(1, 2)


def _merge_chains(spans: Sequence[TreeNode], depths: Sequence[int]) -> list[tuple[int, int]]:
    """Merge chains of spans that attend as one because each has a single continuation. Returns,
    for each chain, the index of its last span and the number of tokens in front of its first."""
    # A span with a single continuation needs no group of its own.
    followers = Counter(span.parent for span in spans)
    fronts = [*depths]
    for n, span in enumerate(spans):
        if span.parent >= 0 and followers[span.parent] == 1:
            fronts[n] = fronts[span.parent]
    return [(n, fronts[n]) for n in range(len(spans)) if followers[n] != 1]


def _group_by_size(sizes: Sequence[int], depths: Sequence[int]) -> Iterator[list[int]]:
    """Yield groups of span indices of similar size (tokens with prefix). A group has at most
    ``MAX_GROUP_TOKENS`` tokens (or one span), and few more scores than its spans alone."""
    group: list[int] = []
    own = front = scores = 0
    # Grow a group while its padded size stays within both limits.
    for n in sorted(range(len(sizes)), key=lambda n: (sizes[n], depths[n], n)):
        size = sizes[n] - depths[n]
        own, front, scores = max(own, size), max(front, depths[n]), scores + size * sizes[n]
        tokens = (len(group) + 1) * (own + front)
        if group and (
            tokens > MAX_GROUP_TOKENS
            or own * tokens > MAX_PADDING_FACTOR * scores + MAX_GROUP_TOKENS
        ):
            yield group
            group, own, front, scores = [], size, depths[n], size * sizes[n]
        group.append(n)
    if group:
        yield group


def _build_group(
    span_indices: Sequence[tuple[int, ...]], depths: Sequence[int], base: Base
) -> AttentionGroup:
    """Build a group from the token indices of each span with its prefix, and the prefix
    lengths."""
    # The mask hides padding, but NaN passes it. So padding repeats a token of the same span.
    own, fill = (
        [p[d:] for p, d in zip(span_indices, depths, strict=True)],
        [p[d] for p, d in zip(span_indices, depths, strict=True)],
    )
    own_BS, sizes_B = _pad_sequences(own, fill)
    front_BP, depths_B = _pad_sequences(
        [p[:d] for p, d in zip(span_indices, depths, strict=True)], fill
    )
    width = own_BS.shape[1]
    # Each token attends to its whole prefix and causally to its own span.
    past_BP = torch.arange(front_BP.shape[1]) < depths_B[:, None]
    causal_SS = torch.ones(width, width, dtype=torch.bool).tril()
    visible = torch.cat(
        [past_BP[:, None].expand(-1, width, -1), causal_SS.expand(len(span_indices), -1, -1)], dim=2
    )
    mask = torch.zeros(visible.shape, dtype=base.dtype).masked_fill_(
        ~visible, torch.finfo(base.dtype).min
    )
    # Real tokens of the flattened [B, S].
    unpadded_M = (torch.arange(width) < sizes_B[:, None]).flatten().nonzero()[:, 0]
    device = base.device
    return AttentionGroup(
        token_indices=own_BS.to(device),
        prefix_indices=front_BP.to(device),
        mask=mask[:, None].to(device),
        unpadded_positions=unpadded_M.to(device),
        output_indices=own_BS.flatten()[unpadded_M].to(device),
    )


def _pad_sequences(rows: Sequence[Sequence[int]], fill: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return integer rows right-padded with their own ``fill`` [B, longest], and their lengths
    [B]."""
    longest = max(len(row) for row in rows)
    padded = [[*row, *[own] * (longest - len(row))] for row, own in zip(rows, fill, strict=True)]
    lengths = torch.tensor([len(row) for row in rows])
    return torch.tensor(padded, dtype=torch.long).view(len(rows), longest), lengths


attention.register_attention(NAME, attend_tree)
