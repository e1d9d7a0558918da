"""Target users' items as one token tree, with the tokens that adapters act on and that predict
answers.

A prefix shared by rows of one target user runs once. If adapters act only on answers, the bare base
processes the prompts, so equal prompts and shared prompt prefixes run once for all target users.

Shapes: ``P`` target users, ``N`` tokens of the tree, ``M`` positions that predict answer tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.row_groups import list_flat_targets
from idiolect.models.base import Base
from idiolect.models.forward.partial import has_full_attention
from idiolect.models.forward.prefix_tree import PrefixTree, TreeNode
from idiolect.pieces.assembly.target_users import TargetUser
from idiolect.prompts.chat_template import encode_invocation, find_invocation
from idiolect.prompts.render import Example
from idiolect.training.engine.shared_prefixes import find_shared_prefixes

TokenIds = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TokenTree:
    """The rows of some target users, ready for a forward."""

    tree: PrefixTree
    acting_ranges: tuple[tuple[int, int], ...]
    """Each target user's tokens on which their update acts: (begin, end)."""
    predicting_tokens: Tensor
    """Indices of the tokens that predict answer tokens [M]."""
    token_weights: Tensor
    """The weight of each such token for each target user [P, M], fp64: uniform over items, and over
    an item's tokens."""


def supports_token_trees(base: Base, lora: LoraConfig, tokens: int) -> bool:
    """Return whether a base with adapters of this config can run trees of rows with up to
    ``tokens`` tokens."""
    return base.ways.tree and has_full_attention(base, tokens) and not list_flat_targets(base, lora)


def build_token_tree(
    base: Base, target_users: Sequence[TargetUser], *, answers_only: bool
) -> TokenTree:
    """Build the tree of the target users' rows, without their last tokens, which predict nothing.

    Raises UsageError with ``answers_only`` for a text without a question.
    """
    nodes: list[TreeNode] = []
    invocation = encode_invocation(base.tokenizer) if answers_only else ()
    # The first token of each item on which adapters act.
    starts = [
        [
            find_invocation(e.ids[: e.answer_start], invocation) if answers_only else 0
            for e in n.examples
        ]
        for n in target_users
    ]
    # With ``answers_only``: distinct prompts first, common to all target users. Otherwise there
    # are none.
    prompts = dict.fromkeys(
        e.ids[:start]
        for n, user_starts in zip(target_users, starts, strict=True)
        for e, start in zip(n.examples, user_starts, strict=True)
        if start
    )
    prompt_nodes = {(): -1} | dict(
        zip(prompts, _append_rows(nodes, [*prompts], [*prompts]), strict=True)
    )
    # Then, target user by target user, the tokens on which their own update acts.
    first_acting = len(nodes)
    node_ends: list[int] = []
    rows: list[list[int]] = []  # per target user, the node that each item ends with
    for target_user, user_starts in zip(target_users, starts, strict=True):
        if answers_only:
            rows.append([])
            for e, start in zip(target_user.examples, user_starts, strict=True):
                rows[-1].append(len(nodes))
                nodes.append(TreeNode(e.ids[start:-1], prompt_nodes[e.ids[:start]]))
        else:
            own_prompts = [e.ids[: e.answer_start] for e in target_user.examples]
            texts = [e.ids[:-1] for e in target_user.examples]
            rows.append(_append_rows(nodes, texts, own_prompts))
        node_ends.append(len(nodes))
    tree = PrefixTree.from_nodes(nodes, base)
    # Nodes are stored in order, so each target user's tokens are one range.
    ends = [*tree.node_starts, len(tree.ids)]
    bounds = [ends[first_acting], *(ends[n] for n in node_ends)]
    positions = [
        [
            _find_predicting_tokens(tree, node, e)
            for node, e in zip(user_nodes, n.examples, strict=True)
        ]
        for n, user_nodes in zip(target_users, rows, strict=True)
    ]
    return TokenTree(
        tree=tree,
        acting_ranges=tuple(pairwise(bounds)),
        predicting_tokens=torch.tensor(
            [position for items in positions for item in items for position in item],
            device=base.device,
        ),
        token_weights=_compute_token_weights(target_users).to(base.device),
    )


def _append_rows(
    nodes: list[TreeNode], rows: Sequence[TokenIds], prompts: Sequence[TokenIds]
) -> list[int]:
    """Append rows to ``nodes``, behind the shared prefixes of their prompts; return their
    indices."""
    # Shared prefixes become nodes of their own; each row follows the longest one it begins with.
    prefixes = find_shared_prefixes(prompts, [None] * len(prompts), tokens=0)
    first = len(nodes)
    nodes += [TreeNode(head) for head in prefixes.ids]
    indices = range(len(nodes), len(nodes) + len(rows))
    for n, row in enumerate(rows):
        prefix = prefixes.prefix_of_row[n]
        nodes.append(
            TreeNode(row[prefixes.get_prefix_length(n) :], first + prefix if prefix >= 0 else -1)
        )
    return list(indices)


def _find_predicting_tokens(tree: PrefixTree, node: int, example: Example) -> range:
    """Return the tree tokens that predict an example's targets, all in its last node."""
    begin = tree.node_starts[node] - tree.prefix_lengths[node]
    return range(begin + example.answer_start - 1, begin + len(example.ids) - 1)


def _compute_token_weights(target_users: Sequence[TargetUser]) -> Tensor:
    """Return the mean over items of the mean over positions, as weights [P, M].

    An item with several answers counts once per answer.
    """
    items = [(n, e) for n, target_user in enumerate(target_users) for e in target_user.examples]
    answers = [sum(e.num_answers for e in target_user.examples) for target_user in target_users]
    # An item's weight is spread evenly over its target tokens.
    sizes = torch.tensor([len(e.ids) - e.answer_start for _, e in items])
    item_weights = (
        torch.tensor([e.num_answers / answers[n] for n, e in items], dtype=torch.float64) / sizes
    )
    owner_M = torch.tensor([n for n, _ in items]).repeat_interleave(sizes)
    weights_PM = torch.zeros(len(target_users), len(owner_M), dtype=torch.float64)
    weights_PM[owner_M, torch.arange(len(owner_M))] = item_weights.repeat_interleave(sizes)
    return weights_PM
