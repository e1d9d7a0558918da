"""Assembles target users' adapters from pieces by gate scores, without training, many in one
forward.

Each forward processes the token trees of several target users (``token_tree.py``) module by module.
At each module one matrix product scores the gates of all sharers. The chosen pieces act at once on
the target user's tokens, so later modules see their effect. ``by_gates_reference.py`` is the
readable reference.

Shapes: ``P`` target users, ``S`` sharers, ``N`` tokens, ``M`` positions that predict answer tokens,
``D``/``O`` input and output widths of a module, ``R`` rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor

from idiolect.adapters.hooks import forward_hooks
from idiolect.adapters.update_norm import require_bounded_update
from idiolect.events import Listener, Progress, null_listener
from idiolect.models.base import Base
from idiolect.models.cpu.chunked_mlp import chunk_mlp
from idiolect.models.cpu.malloc import keep_freed_memory
from idiolect.models.cpu.prepacked_linear import prepack_base
from idiolect.models.forward.prefix_tree import forward_tree
from idiolect.pieces.assembly.by_gates_reference import StopForwardError, assemble_checked
from idiolect.pieces.assembly.by_likelihood import LIKELIHOOD_FORWARD_TOKENS, LikelihoodMixture
from idiolect.pieces.assembly.choose import choose_pieces, draw_gumbel_noise
from idiolect.pieces.assembly.normalize import normalize_inputs
from idiolect.pieces.assembly.picks import Pick, build_recipe, to_picks
from idiolect.pieces.assembly.target_users import (
    TargetUser,
    check_target_users,
    make_flat_input_error,
)
from idiolect.pieces.assembly.token_tree import (
    TokenTree,
    build_token_tree,
    supports_token_trees,
)
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.combine import Pair, combine_pieces
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import Recipe
from idiolect.prompts.render import Example

FORWARD_TOKENS = 16384
"""Maximum tokens per forward by gates. All items of a target user run in the same forward, since
scores are means over all their items; a target user with more tokens runs alone. More people per
forward share more prompt prefixes."""

MAX_CACHE_BYTES = 2**30
"""The cache of pieces is cleared when it would exceed this size."""


def assemble_recipes(
    base: Base,
    pool: Pool,
    target_users: Mapping[str, Sequence[Example]],
    config: AssembleConfig,
    *,
    forward_tokens: int | None = None,
    listener: Listener = null_listener,
) -> tuple[Recipe, ...]:
    """Return a recipe for each target user (person to items in time order), equal to one made
    alone.

    Raises MismatchError for a pool of another base, UsageError if the pool has fewer sharers than
    ``top_k``, DataError for a target user with no history, no target token, or a flat input at a
    module, IntegrityError for damaged pieces. Source: see ``assemble_one``.
    """
    people = check_target_users(base, pool, target_users, config)
    done: dict[str, Recipe] = {}
    # By likelihood: whole adapters, one target user after another.
    if config.by == "likelihood" and people:
        mixture = LikelihoodMixture(
            base, pool, config, forward_tokens=forward_tokens or LIKELIHOOD_FORWARD_TOKENS
        )
        with _prepare_base(base):
            for target_user in people:
                done[target_user.person] = mixture.make_recipe(target_user)
                listener(_make_progress(done, people))
        return tuple(done.values())
    # By gates: several target users per forward, or the reference for models that do not support
    # token trees at this length.
    forward = GateAssembly(base, pool, config)
    with _prepare_base(base):
        for group in iter_token_groups(people, forward_tokens or FORWARD_TOKENS):
            longest = max(len(e.ids) for n in group for e in n.examples)
            if supports_token_trees(base, pool.lora, longest):
                recipes = forward.assemble_group(group)
            else:
                recipes = [assemble_checked(base, pool, n, config) for n in group]
            done |= {recipe.person: recipe for recipe in recipes}
            listener(_make_progress(done, people))
    return tuple(done[n.person] for n in people)


@contextmanager
def _prepare_base(base: Base) -> Iterator[None]:
    """Prepare the base model for fast forwards while inside; results stay the same."""
    with prepack_base(base), chunk_mlp(base.model), keep_freed_memory():
        yield


def _make_progress(done: Sized, people: Sized) -> Progress:
    return Progress(stage="assemble", done=len(done), total=len(people), unit="target users")


def iter_token_groups(people: Sequence[TargetUser], budget: int) -> Iterator[list[TargetUser]]:
    """Yield target users in order, in groups of at most ``budget`` tokens (or of one)."""
    group: list[TargetUser] = []
    tokens = 0
    for target_user in people:
        if group and tokens + target_user.num_tokens > budget:
            yield group
            group, tokens = [], 0
        group.append(target_user)
        tokens += target_user.num_tokens
    if group:
        yield group


class _RunningMeans:
    """The mean LN(x) of each target user's inputs at a module, over the positions that predict
    answers.

    Modules that share an input, such as the query, key and value projections, reuse the result.
    """

    def __init__(self, rows: TokenTree, people: Sequence[TargetUser]) -> None:
        self.rows, self.people = rows, people
        self._inputs: Tensor | None = None
        self._means = torch.empty(0)

    def compute_means(self, path: str, inputs_1ND: Tensor) -> Tensor:
        """Return the means [P, D] of inputs [1, N, D]. Raises DataError if an input is flat."""
        # The same tensor object: the same values, since nothing writes to a module's input.
        if inputs_1ND is not self._inputs:
            units_MD, flat_M = normalize_inputs(inputs_1ND[0, self.rows.predicting_tokens])
            if flat_M.any():
                # The target user of the first flat position.
                whose = int(self.rows.token_weights[:, int(flat_M.nonzero()[0])].argmax())
                raise make_flat_input_error(self.people[whose].person, path)
            self._inputs, self._means = inputs_1ND, self.rows.token_weights.to(units_MD) @ units_MD
        return self._means


class GateAssembly:
    """Runs target users through the base while their pieces are chosen and applied."""

    def __init__(self, base: Base, pool: Pool, config: AssembleConfig) -> None:
        self.base, self.pool, self.config = base, pool, config
        self.sharers = pool.sharers
        self._piece_cache: dict[tuple[str, str], Pair] = {}
        self._cached_bytes = 0

    @torch.no_grad()
    def assemble_group(self, people: Sequence[TargetUser]) -> list[Recipe]:
        """Return the target users' recipes, from one forward."""
        answers_only = self.pool.lora.active == "answer"
        rows = build_token_tree(self.base, people, answers_only=answers_only)
        picks: dict[str, list[Pick]] = {}
        means = _RunningMeans(rows, people)

        def make_hook(path: str) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
            def add_pieces(module: Any, inputs: tuple[Tensor, ...], output_1NO: Tensor) -> Tensor:
                (x_ND,) = inputs[0]
                # Choose by the input, which includes the effect of the pieces at earlier modules.
                picks[path] = self._pick_pieces(path, means.compute_means(path, inputs[0]), people)
                if len(picks) == len(self.pool.sites):
                    # The output of the last module affects no choice.
                    raise StopForwardError
                # Apply each target user's update in place, to their own tokens only.
                for (begin, end), pick in zip(rows.acting_ranges, picks[path], strict=True):
                    if pick:
                        a_RD, b_OR = (
                            part.to(x_ND.dtype) for part in self._combine_pieces(path, pick)
                        )
                        output_1NO[0, begin:end].addmm_(x_ND[begin:end] @ a_RD.T, b_OR.T)
                return output_1NO

            return add_pieces

        hooks = {path: make_hook(path) for path in self.pool.sites}
        with forward_hooks(self.base.model, hooks), suppress(StopForwardError):
            forward_tree(self.base, rows.tree)
        return [
            build_recipe(
                target_user.person,
                [picks[path][n] for path in self.pool.sites],
                self.sharers,
                self.config.aggregate,
            )
            for n, target_user in enumerate(people)
        ]

    def _pick_pieces(self, path: str, means_PD: Tensor, people: Sequence[TargetUser]) -> list[Pick]:
        """Return each target user's pieces at a module, given the means [P, D] of its inputs."""
        gates_SD = self.pool.load_gates(path).to(means_PD)
        scores_PS = means_PD @ gates_SD.T / math.sqrt(means_PD.shape[1])
        noise_PS = None
        if self.config.sample:
            # Noise depends on the person, not on their place in the group.
            names = [target_user.person for target_user in people]
            noise_PS = draw_gumbel_noise(names, path, scores_PS.shape[1], self.config.seed)
        return to_picks(
            choose_pieces(scores_PS.cpu(), self.pool.get_shared_mask(path), self.config, noise_PS)
        )

    def _combine_pieces(self, path: str, pick: Pick) -> Pair:
        """Return the update of some pieces as A and B."""
        pieces = [self._load_piece(self.sharers[n], path) for n, _ in pick]
        weights = [weight for _, weight in pick]
        return combine_pieces(pieces, weights, self.pool.lora.scale, self.config.aggregate)

    def _load_piece(self, sharer: str, path: str) -> Pair:
        """Return one piece on the base's device, from the cache if possible."""
        if (sharer, path) not in self._piece_cache:
            # Pieces keep full precision until they are combined; the hook casts the result.
            dtype = torch.float64 if self.base.dtype == torch.float64 else torch.float32
            a, b = self.pool.load_pieces(sharer, [path])[path]
            where = f"{self.pool.folder}: piece of sharer {sharer}"
            require_bounded_update(self.base.model, path, (a, b), self.pool.lora.scale, what=where)
            pair = a.to(self.base.device, dtype), b.to(self.base.device, dtype)
            size = sum(part.nbytes for part in pair)
            if self._cached_bytes + size > MAX_CACHE_BYTES:
                self._piece_cache, self._cached_bytes = {}, 0
            self._piece_cache[sharer, path] = pair
            self._cached_bytes += size
        return self._piece_cache[sharer, path]
