"""Assembles one target user's adapter by gates: readable code, and the oracle for the batched
version.

One target user, one padded forward, a hook on every module, loops over items, positions and
sharers. It also serves models whose attention ``models.forward.prefix_tree`` does not support.

Shapes: ``B`` items, ``T`` tokens, ``D``/``O`` input and output widths of a module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from idiolect.adapters.hooks import forward_hooks
from idiolect.adapters.row_groups import list_flat_targets
from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.models.structure import find_decoder
from idiolect.pieces.assembly.choose import choose_pieces, draw_gumbel_noise
from idiolect.pieces.assembly.normalize import normalize_inputs
from idiolect.pieces.assembly.picks import Pick, build_recipe, to_picks
from idiolect.pieces.assembly.target_users import (
    TargetUser,
    check_target_users,
    make_flat_input_error,
)
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import Recipe
from idiolect.prompts.batch import pad_token_ids
from idiolect.prompts.chat_template import encode_invocation, find_invocation
from idiolect.prompts.render import Example


def assemble_one(
    base: Base, pool: Pool, person: str, examples: Sequence[Example], config: AssembleConfig
) -> Recipe:
    """Return a target user's recipe; raises the same errors as ``assemble_recipes``.

    Source: Per-Pcs (arXiv 2406.10471), section 3.3. At every module, score_i is the mean over items
    of the mean over positions that predict answer tokens of <LN(x), LN(g_i)> / sqrt(D). The best
    pieces, weighted by softmax(score / T), are applied at once as the module's update, so later
    modules see it.
    """
    (target_user,) = check_target_users(base, pool, {person: examples}, config)
    return assemble_checked(base, pool, target_user, config)


@torch.no_grad()
def assemble_checked(
    base: Base, pool: Pool, target_user: TargetUser, config: AssembleConfig
) -> Recipe:
    """Return the recipe of a target user whose items are already checked. Raises UsageError if the
    base does not keep the tokens of a row apart at a module of the pool."""
    flat = list_flat_targets(base, pool.lora)
    if flat:
        raise UsageError(
            f"assemble.by 'gates': on {base.name}, {flat[0]} gets the tokens of all rows in one "
            "list, so no gate can be scored there; use assemble.by 'likelihood'"
        )
    picks: dict[str, Pick] = {}
    if base.ways.batched:
        _run_items(base, pool, target_user, target_user.examples, config, picks)
    # If rows cannot share a forward, each module needs forwards of its own: of one row after
    # another, up to this module, with the pieces at earlier ones.
    while len(picks) < len(pool.sites):
        reached: dict[str, list[Tensor]] = {}
        for example in target_user.examples:
            path, x_1TD = _run_item(base, pool, example, config, picks)
            reached.setdefault(path, []).append(x_1TD[0])
        for path, rows in reached.items():
            picks[path] = _pick_pieces(rows, path, pool, target_user, config)
    ordered = [picks[path] for path in pool.sites]
    return build_recipe(target_user.person, ordered, pool.sharers, config.aggregate)


def _run_items(
    base: Base,
    pool: Pool,
    target_user: TargetUser,
    examples: Sequence[Example],
    config: AssembleConfig,
    picks: dict[str, Pick],
) -> None:
    """Choose the pieces at all modules in one forward of all items, and add them to ``picks``."""

    def choose(path: str, x_BTD: Tensor) -> Pick:
        picks[path] = _pick_pieces(x_BTD.unbind(), path, pool, target_user, config)
        return picks[path]

    _forward_with_pieces(base, pool, examples, config, choose)


def _run_item(
    base: Base, pool: Pool, example: Example, config: AssembleConfig, picks: Mapping[str, Pick]
) -> tuple[str, Tensor]:
    """Run one item up to the first module without a pick; return its path and input [1, T, D]."""
    reached: list[tuple[str, Tensor]] = []

    def choose(path: str, x_1TD: Tensor) -> Pick:
        if path not in picks:
            reached.append((path, x_1TD))
            raise StopForwardError
        return picks[path]

    with suppress(StopForwardError):
        _forward_with_pieces(base, pool, [example], config, choose)
    return reached[0]


class StopForwardError(Exception):
    """Ends a forward early: the rest of it affects no choice."""


def _forward_with_pieces(
    base: Base,
    pool: Pool,
    examples: Sequence[Example],
    config: AssembleConfig,
    choose: Callable[[str, Tensor], Pick],
) -> None:
    """Run items in one forward with the pieces that ``choose`` returns for each module, given its
    path and input [B, T, D]."""
    acting_BT1 = _make_active_mask(base, pool, examples)

    def make_hook(path: str) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
        def add_pieces(module: Any, inputs: tuple[Tensor, ...], output_BTO: Tensor) -> Tensor:
            x_BTD = inputs[0]
            pick = choose(path, x_BTD)
            return output_BTO + acting_BT1 * _compute_update(x_BTD, path, pick, pool, config)

        return add_pieces

    # The decoder alone: no logits are needed. Padding is on the right, so causal attention makes
    # it harmless.
    ids_BT = pad_token_ids([e.ids[:-1] for e in examples], base.pad_token_id, base.device)
    decoder: Any = find_decoder(base.model)
    with forward_hooks(base.model, {path: make_hook(path) for path in pool.sites}):
        decoder(input_ids=ids_BT, use_cache=False)


def _make_active_mask(base: Base, pool: Pool, examples: Sequence[Example]) -> Tensor:
    """Return the mask [B, T, 1]: 1 at the tokens on which adapters of this pool act."""
    mask_BT1 = torch.ones(len(examples), max(len(e.ids) for e in examples) - 1, 1, dtype=base.dtype)
    # The base alone processes the prompt: adapters act from the invocation tokens on.
    if pool.lora.active == "answer":
        invocation = encode_invocation(base.tokenizer)
        for row, e in enumerate(examples):
            mask_BT1[row, : find_invocation(e.ids[: e.answer_start], invocation)] = 0
    return mask_BT1.to(base.device)


def _pick_pieces(
    rows: Sequence[Tensor],
    path: str,
    pool: Pool,
    target_user: TargetUser,
    config: AssembleConfig,
) -> Pick:
    """Return the target user's pieces at a module with the input [T, D] of each item."""
    items: list[Tensor] = []
    for x_TD, e in zip(rows, target_user.examples, strict=True):
        units_MD, flat_M = normalize_inputs(x_TD[e.answer_start - 1 : len(e.ids) - 1])
        if flat_M.any():
            raise make_flat_input_error(target_user.person, path)
        # An item with several answers counts once per answer.
        items += [units_MD.mean(dim=0)] * e.num_answers
    mean_D = torch.stack(items).mean(dim=0)
    scores = [
        sum(a * b for a, b in zip(mean_D.tolist(), gate_D.tolist(), strict=True))
        / math.sqrt(len(gate_D))
        for gate_D in pool.load_gates(path)
    ]
    noise_1S = (
        draw_gumbel_noise([target_user.person], path, len(scores), config.seed)
        if config.sample
        else None
    )
    scores_1S = torch.tensor([scores], dtype=torch.float64)
    (pick,) = to_picks(choose_pieces(scores_1S, pool.get_shared_mask(path), config, noise_1S))
    return pick


def _compute_update(
    x_BTD: Tensor, path: str, pick: Pick, pool: Pool, config: AssembleConfig
) -> Tensor:
    """Return the update [B, T, O] that is added to the output of a module with input [B, T, D]."""
    scale, update_BTO = pool.lora.scale, torch.zeros((), dtype=x_BTD.dtype, device=x_BTD.device)
    pieces = [
        (weight, *(part.to(x_BTD) for part in pool.load_pieces(pool.sharers[n], [path])[path]))
        for n, weight in pick
    ]
    # ``factors`` sums A and B first; ``delta`` sums the updates.
    if config.aggregate == "factors" and pieces:
        a_RD = torch.stack([weight * a_RD for weight, a_RD, _ in pieces]).sum(dim=0)
        b_OR = torch.stack([weight * b_OR for weight, _, b_OR in pieces]).sum(dim=0)
        return scale * (x_BTD @ a_RD.T @ b_OR.T)
    for weight, a_RD, b_OR in pieces:
        update_BTO = update_BTO + weight * scale * (x_BTD @ a_RD.T @ b_OR.T)
    return update_BTO
