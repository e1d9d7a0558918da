"""The fast ways on the probe's rows: each gives its passes through the model, with the plain tokens
that each of its tokens stands for.

Shapes: ``B`` rows, ``T`` tokens of the longest; ``N`` tokens of a forward, ``P`` of them in front;
``D`` width of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from idiolect.models import attention
from idiolect.models.base import Base
from idiolect.models.forward.partial import forward_part
from idiolect.models.forward.prefix_tree import PrefixTree, TreeNode, forward_tree
from idiolect.models.forward.varlen import PackedSequences, forward_packed
from idiolect.models.logits import compute_logits
from idiolect.models.proof.plain_run import run_backward
from idiolect.models.proof.probe_rows import ProbeRows
from idiolect.models.proof.recording import (
    Recording,
    record_modules,
    require_embedding_gradients,
)
from idiolect.models.structure import find_decoder

FIRST_LAYER = 1
"""Where a partial forward starts: at the second layer, so that a layer which is taken for its
neighbor is noticed wherever kinds of layers alternate."""


@dataclass(frozen=True, slots=True, eq=False)
class FastPass:
    """One forward of a fast way."""

    recording: Recording
    tokens: int
    """The number of its tokens, with padding."""
    stands_for: Sequence[tuple[int, int]]
    """Pairs of a token and a token of the plain run that it stands for. A token that several rows
    share stands for several; padding for none."""
    logits: Mapping[int, Tensor]
    """By token of the plain run, the logits [V]."""


Runner = Callable[[Base, ProbeRows, Mapping[str, nn.Module]], list[FastPass]]


def run_batched(
    base: Base,
    rows: ProbeRows,
    modules: Mapping[str, nn.Module],
    *,
    uses: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> list[FastPass]:
    """All rows in one forward, padded on the right; inside the context that ``uses`` makes."""
    ids_BT = pad_rows(base, rows.rows)
    recording = Recording()
    with require_embedding_gradients(base.model), uses(), record_modules(modules, recording):
        hidden_BTD = find_decoder(base.model)(input_ids=ids_BT, use_cache=False).last_hidden_state
        return [_finish_padded(base, rows, recording, hidden_BTD)]


def run_with_own_attention(
    base: Base, rows: ProbeRows, modules: Mapping[str, nn.Module]
) -> list[FastPass]:
    """``run_batched`` with this project's attention function."""
    return run_batched(base, rows, modules, uses=lambda: attention.use_attention(base.model))


def run_one_by_one(base: Base, rows: ProbeRows, modules: Mapping[str, nn.Module]) -> list[FastPass]:
    """Each row in a forward of the decoder, followed by ``compute_logits``: what the reference loop
    does."""
    done: list[FastPass] = []
    with require_embedding_gradients(base.model):
        for row, (ids, offset) in enumerate(zip(rows.rows, rows.offsets, strict=True)):
            recording = Recording()
            with record_modules(modules, recording):
                ids_1T = torch.tensor([ids], device=rows.device)
                hidden_1TD = find_decoder(base.model)(
                    input_ids=ids_1T, use_cache=False
                ).last_hidden_state
            logits = _run_head(base, rows, {row: hidden_1TD[0]})
            stands_for = [(n, offset + n) for n in range(len(ids))]
            done.append(FastPass(recording, len(ids), stands_for, logits))
    return done


def run_packed(base: Base, rows: ProbeRows, modules: Mapping[str, nn.Module]) -> list[FastPass]:
    """The rows one after another in one row."""
    ids_N = torch.tensor([token for row in rows.rows for token in row], device=rows.device)
    spans = PackedSequences.from_lengths(rows.lengths, rows.device)
    recording = Recording()
    with require_embedding_gradients(base.model), record_modules(modules, recording):
        hidden_ND = forward_packed(base, ids_N, spans)
        logits = _run_head(base, rows, dict(enumerate(hidden_ND.split(rows.lengths))))
    return [FastPass(recording, len(ids_N), [(n, n) for n in range(len(ids_N))], logits)]


def run_with_prefix(
    base: Base, rows: ProbeRows, modules: Mapping[str, nn.Module]
) -> list[FastPass]:
    """The tokens with which the first two rows begin once, and then the rest of all rows."""
    shared, front_run, rest_run = rows.shared, Recording(), Recording()
    ids_1P = torch.tensor([rows.rows[0][:shared]], device=rows.device)
    starts_B = torch.tensor([shared, shared, 0], device=rows.device)
    rest = [row[start:] for row, start in zip(rows.rows, starts_B.tolist(), strict=True)]
    with require_embedding_gradients(base.model):
        with record_modules(modules, front_run):
            past = forward_part(base, ids_1P, starts_B[2:]).new_key_values
        # The third row has nothing in front: its mask hides zeros.
        front = {
            layer: (_repeat_for_two(keys), _repeat_for_two(values))
            for layer, (keys, values) in past.items()
        }
        with record_modules(modules, rest_run):
            hidden_BTD = forward_part(base, pad_rows(base, rest), starts_B, front=front).hidden
        # Hidden states from each row's start on, as if the shared tokens had been run.
        width, hidden = hidden_BTD.shape[1], dict[int, Tensor]()
        for row, start in enumerate(starts_B.tolist()):
            hidden[row] = torch.cat(
                [hidden_BTD[row].new_zeros(start, hidden_BTD.shape[2]), hidden_BTD[row]]
            )
        logits = _run_head(base, rows, hidden)
    offsets = rows.offsets
    twice = [(n, offsets[row] + n) for row in (0, 1) for n in range(shared)]
    once = [
        (row * width + n, offsets[row] + start + n)
        for row, start in enumerate(starts_B.tolist())
        for n in range(len(rest[row]))
    ]
    return [
        FastPass(front_run, shared, twice, {}),
        FastPass(rest_run, hidden_BTD.shape[0] * width, once, logits),
    ]


def run_upper_layers(
    base: Base, rows: ProbeRows, modules: Mapping[str, nn.Module]
) -> list[FastPass]:
    """The layers below ``FIRST_LAYER`` without gradients, and then those above, from what the
    lower ones gave."""
    ids_BT = pad_rows(base, rows.rows)
    starts_B = torch.zeros(len(rows.rows), dtype=torch.long, device=rows.device)
    with torch.no_grad():
        edge = forward_part(base, ids_BT, starts_B, until=FIRST_LAYER).boundary_hidden
    recording = Recording()
    with torch.enable_grad(), record_modules(modules, recording):
        edge = edge.clone().requires_grad_()
        hidden_BTD = forward_part(base, ids_BT, starts_B, edge=edge, first=FIRST_LAYER).hidden
        return [_finish_padded(base, rows, recording, hidden_BTD)]


def run_tree(base: Base, rows: ProbeRows, modules: Mapping[str, nn.Module]) -> list[FastPass]:
    """The rows as a tree, in which the first two share a span."""
    shared, offsets, lengths = rows.shared, rows.offsets, rows.lengths
    one, two, three = rows.rows
    tree = PrefixTree.from_nodes(
        [
            TreeNode(one[:shared]),
            TreeNode(one[shared:], 0),
            TreeNode(two[shared:], 0),
            TreeNode(three),
        ],
        base,
    )
    # The tree's token of each token of a row.
    starts = tree.node_starts
    paths = [
        [*range(shared), *range(starts[1], starts[1] + lengths[0] - shared)],
        [*range(shared), *range(starts[2], starts[2] + lengths[1] - shared)],
        [*range(starts[3], starts[3] + lengths[2])],
    ]
    recording = Recording()
    with require_embedding_gradients(base.model), record_modules(modules, recording):
        hidden_ND = forward_tree(base, tree)
        logits = _run_head(base, rows, {row: hidden_ND[path] for row, path in enumerate(paths)})
    pairs = [
        (token, offsets[row] + n) for row, path in enumerate(paths) for n, token in enumerate(path)
    ]
    return [FastPass(recording, len(hidden_ND), pairs, logits)]


def pad_rows(base: Base, rows: Sequence[Sequence[int]]) -> Tensor:
    """Return rows of token ids, padded on the right [B, T]."""
    longest = max(map(len, rows))
    padded = [[*row, *[base.pad_token_id] * (longest - len(row))] for row in rows]
    return torch.tensor(padded, device=base.device)


def _finish_padded(
    base: Base, rows: ProbeRows, recording: Recording, hidden_BTD: Tensor
) -> FastPass:
    """Run the head and the backward of rows padded on the right."""
    logits = _run_head(base, rows, dict(enumerate(hidden_BTD)))
    width = hidden_BTD.shape[1]
    pairs = [
        (row * width + n, offset + n)
        for row, (offset, length) in enumerate(zip(rows.offsets, rows.lengths, strict=True))
        for n in range(length)
    ]
    return FastPass(recording, hidden_BTD.shape[0] * width, pairs, logits)


def _run_head(base: Base, rows: ProbeRows, hidden: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """Compute the logits of rows' predicting tokens from each row's hidden states [T, D], run the
    backward, and return the logits by token of the plain run."""
    parts: list[tuple[Tensor, Tensor]] = []
    by_token: dict[int, Tensor] = {}
    for row, hidden_TD in hidden.items():
        places = rows.list_predicting(row)
        logits_NV = compute_logits(base.model, hidden_TD[list(places)])
        parts.append((logits_NV, rows.make_labels(row)))
        by_token |= {
            rows.offsets[row] + place: logits.detach()
            for place, logits in zip(places, logits_NV, strict=True)
        }
    run_backward(parts)
    return by_token


def _repeat_for_two(part: Tensor) -> Tensor:
    """Return keys or values [1, K, P, d] for the two rows that share them, and zeros for the
    third."""
    return torch.cat([part, part, torch.zeros_like(part)])
