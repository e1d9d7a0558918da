"""The plain way: the model's own forward and backward, one row at a time.

Shapes: ``N`` tokens of all rows, one row after another; ``T`` tokens of a row; ``D`` width of a
module's input or output; ``V`` vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from idiolect.models.attention import use_attention
from idiolect.models.base import Base
from idiolect.models.proof.probe_rows import ProbeRows
from idiolect.models.proof.recording import (
    Call,
    Recording,
    record_modules,
    require_embedding_gradients,
)
from idiolect.models.structure import find_decoder

_DEFAULT, _ROUNDED = "sdpa", "idiolect-rounded"
"""The default attention of most families, and the name of the same with other rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class PlainRun:
    """What the plain way gives for all rows."""

    logits: Tensor
    """The model's logits [N, V]."""
    inputs: Mapping[Call, Tensor]
    """The input [N, D] of each call of a linear module that has one row for each token."""
    gradients: Mapping[Call, Tensor]
    """The gradient [N, D] of each such call's output."""


def run_plainly(base: Base, rows: ProbeRows, modules: Mapping[str, nn.Module]) -> PlainRun:
    """Run the model forward and backward on one row after another."""
    logits: list[Tensor] = []
    recordings: list[Recording] = []
    with require_embedding_gradients(base.model):
        for row, ids in enumerate(rows.rows):
            recording = Recording()
            with record_modules(modules, recording):
                ids_1T = torch.tensor([ids], device=rows.device)
                logits_TV = base.model(input_ids=ids_1T, use_cache=False).logits[0]
            run_backward([(logits_TV[list(rows.list_predicting(row))], rows.make_labels(row))])
            logits.append(logits_TV.detach())
            recordings.append(recording)
    return PlainRun(torch.cat(logits), *_join_rows(rows, recordings))


def run_backward(parts: list[tuple[Tensor, Tensor]]) -> None:
    """Run the backward of the summed negative log likelihood of labels [N] under logits [N, V]."""
    losses = [
        nn.functional.cross_entropy(
            logits.double() if logits.dtype == torch.float64 else logits.float(),
            label,
            reduction="sum",
        )
        for logits, label in parts
    ]
    torch.stack(losses).sum().backward()


def _join_rows(
    rows: ProbeRows, recordings: list[Recording]
) -> tuple[dict[Call, Tensor], dict[Call, Tensor]]:
    """Join the rows' inputs and gradients of the calls that have one row for each token."""
    inputs: dict[Call, Tensor] = {}
    gradients: dict[Call, Tensor] = {}
    for call in recordings[0].inputs:
        each = list(zip(recordings, rows.lengths, strict=True))
        given = [one.find_input(call, tokens) for one, tokens in each]
        arrived = [one.find_gradient(call, tokens) for one, tokens in each]
        if all(one is not None for one in given):
            inputs[call] = torch.cat([one for one in given if one is not None])
        if call in inputs and all(one is not None for one in arrived):
            gradients[call] = torch.cat([one for one in arrived if one is not None])
    return inputs, gradients


@contextmanager
def change_rounding(base: Base, modules: Mapping[str, nn.Module]) -> Iterator[None]:
    """Inside the context, each product is rounded differently, by at most one unit in the last
    place, and so is each attention score of models with transformers' default attention."""
    epsilon = torch.finfo(base.dtype).eps
    generator = torch.Generator(base.device).manual_seed(29)

    def make_factors(*shape: int) -> Tensor:
        draw = torch.rand(*shape, generator=generator, device=base.device)
        return 1 + (2 * draw - 1) * epsilon

    def round_output(module: nn.Module, inputs: object, output: Any) -> Any:
        if not isinstance(output, Tensor):
            return output
        return (output * make_factors(*output.shape)).to(output.dtype)

    def attend(module: Any, query: Tensor, key: Tensor, *rest: Any, **more: Any) -> Any:
        # The same factor for a whole key changes its score by that factor.
        key = (key * make_factors(*key.shape[:-1], 1)).to(key.dtype)
        return ALL_ATTENTION_FUNCTIONS[_DEFAULT](module, query, key, *rest, **more)

    AttentionInterface.register(_ROUNDED, attend)
    AttentionMaskInterface.register(_ROUNDED, sdpa_mask)
    usual = find_decoder(base.model).config._attn_implementation
    handles = [module.register_forward_hook(round_output) for module in modules.values()]
    try:
        with use_attention(base.model, _ROUNDED if usual == _DEFAULT else usual):
            yield
    finally:
        for handle in handles:
            handle.remove()
