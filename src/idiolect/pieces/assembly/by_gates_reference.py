"""Assemble one newcomer's adapter: the obvious code, and the oracle that the batched must equal.

One newcomer, one padded forward, a hook on every module, loops over items, positions and sharers.
It also serves models whose layers attend in a way that ``models.tree`` does not know.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from idiolect.models.base import Base
from idiolect.pieces.assembly.choose import choose_pieces, draw_gumbel_noise
from idiolect.pieces.assembly.newcomers import TargetUser, check_target_users, make_flat_input_error
from idiolect.pieces.assembly.normalise import normalise_inputs
from idiolect.pieces.assembly.picks import Pick, build_recipe, to_picks
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import Recipe
from idiolect.prompts.batch import pad_token_ids
from idiolect.prompts.chat_template import encode_invocation, find_invocation
from idiolect.prompts.render import Example


def assemble_one(
    base: Base, pool: Pool, person: str, examples: Sequence[Example], config: AssembleConfig
) -> Recipe:
    """A newcomer's recipe; raises as ``assemble``.

    Source: Per-Pcs section 3.3. At every module, score_i is the mean over items of the mean over
    positions that predict answer tokens of <LN(x), LN(g_i)> / sqrt(D); the best pieces weighted by
    softmax(score / T) are the module's update at once, so later modules see it.
    """
    (newcomer,) = check_target_users(base, pool, {person: examples}, config)
    return assemble_checked(base, pool, newcomer, config)


@torch.no_grad()
def assemble_checked(
    base: Base, pool: Pool, newcomer: TargetUser, config: AssembleConfig
) -> Recipe:
    """The same of somebody whose items are checked."""
    examples = newcomer.examples
    acting = _make_active_mask(base, pool, examples)
    picks: dict[str, Pick] = {}

    def make_hook(path: str) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
        def add_pieces(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            x = inputs[0]
            picks[path] = _pick_pieces(x, path, pool, newcomer, config)
            return output + acting * _compute_update(x, path, picks[path], pool, config)

        return add_pieces

    ids = pad_token_ids([e.ids[:-1] for e in examples], base.pad_token_id, base.device)
    decoder: Any = base.model.get_decoder()
    with _attach_hooks(base.model, {path: make_hook(path) for path in pool.sites}):
        decoder(input_ids=ids, use_cache=False)
    ordered = [picks[path] for path in pool.sites]
    return build_recipe(newcomer.person, ordered, pool.sharers, config.aggregate)


def _make_active_mask(base: Base, pool: Pool, examples: Sequence[Example]) -> Tensor:
    """1 at the tokens on which adapters of this pool act [B, T, 1]."""
    out = torch.ones(len(examples), max(len(e.ids) for e in examples) - 1, 1, dtype=base.dtype)
    if pool.lora.active == "answer":
        call = encode_invocation(base.tokenizer)
        for row, e in enumerate(examples):
            out[row, : find_invocation(e.ids[: e.answer_start], call)] = 0
    return out.to(base.device)


def _pick_pieces(
    x: Tensor, path: str, pool: Pool, newcomer: TargetUser, config: AssembleConfig
) -> Pick:
    """What the newcomer picks at a module with input [B, T, D]."""
    items: list[Tensor] = []
    for row, e in enumerate(newcomer.examples):
        units, flat = normalise_inputs(x[row, e.answer_start - 1 : len(e.ids) - 1])
        if flat.any():
            raise make_flat_input_error(newcomer.person, path)
        items += [units.mean(dim=0)] * e.num_answers
    mean = torch.stack(items).mean(dim=0)
    scores = [
        sum(a * b for a, b in zip(mean.tolist(), gate.tolist(), strict=True)) / math.sqrt(len(gate))
        for gate in pool.load_gates(path)
    ]
    noise = (
        draw_gumbel_noise([newcomer.person], path, len(scores), config.seed)
        if config.sample
        else None
    )
    numbers = torch.tensor([scores], dtype=torch.float64)
    (pick,) = to_picks(choose_pieces(numbers, pool.get_shared_mask(path), config, noise))
    return pick


def _compute_update(x: Tensor, path: str, pick: Pick, pool: Pool, config: AssembleConfig) -> Tensor:
    """What is added to the output of a module with input [B, T, D]: [B, T, O]."""
    scale, out = pool.lora.scale, torch.zeros((), dtype=x.dtype, device=x.device)
    pieces = [
        (weight, *(part.to(x) for part in pool.load_pieces(pool.sharers[n], [path])[path]))
        for n, weight in pick
    ]
    if config.aggregate == "factors" and pieces:
        a = torch.stack([weight * a for weight, a, _ in pieces]).sum(dim=0)
        b = torch.stack([weight * b for weight, _, b in pieces]).sum(dim=0)
        return scale * (x @ a.T @ b.T)
    for weight, a, b in pieces:
        out = out + weight * scale * (x @ a.T @ b.T)
    return out


@contextmanager
def _attach_hooks(model: Any, hooks: Mapping[str, Callable[..., Tensor]]) -> Iterator[None]:
    """While inside, modules have these forward hooks."""
    handles = [
        model.get_submodule(path).register_forward_hook(hook) for path, hook in hooks.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
