"""Newcomers' adapters from a pool of pieces, without training: many in one forward.

In each forward several newcomers' rows stand one behind another (``rows.py``) and pass the modules
in order. At each one everybody's score is one product with the gates of all sharers; what is
chosen acts at once on their tokens, so the next modules see it. ``assemble_single`` is the obvious
version.

Shapes: ``P`` newcomers, ``S`` sharers, ``N`` tokens, ``M`` positions that predict answer tokens,
``D``/``O`` widths of a module in and out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor

from idiolect.events import Listener, Progress, null_listener
from idiolect.models.base import Base
from idiolect.models.cpu.chunked_mlp import chunk_mlp
from idiolect.models.cpu.malloc import keep_freed_memory
from idiolect.models.cpu.prepacked_linear import prepack_linear
from idiolect.models.forward.partial import has_full_attention
from idiolect.models.forward.prefix_tree import forward_tree
from idiolect.pieces.assembly.by_gates_reference import assemble_checked
from idiolect.pieces.assembly.by_likelihood import LIKELIHOOD_FORWARD_TOKENS, LikelihoodMixture
from idiolect.pieces.assembly.choose import choose_pieces, draw_gumbel_noise
from idiolect.pieces.assembly.newcomers import TargetUser, check_target_users, make_flat_input_error
from idiolect.pieces.assembly.normalise import normalise_inputs
from idiolect.pieces.assembly.picks import Pick, build_recipe, to_picks
from idiolect.pieces.assembly.token_tree import TokenTree, build_token_tree
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.combine import Pair, combine_pieces
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import Recipe
from idiolect.prompts.render import Example

FORWARD_TOKENS = 16384
"""Tokens of a forward by gates. A newcomer's rows run in the same one, since scores are means over
all their items: somebody with more runs alone. The more people, the more prompts are alike."""

MAX_CACHE_BYTES = 2**30
"""Pieces that were read are held up to so much, then read anew."""


def assemble_recipes(
    base: Base,
    pool: Pool,
    newcomers: Mapping[str, Sequence[Example]],
    config: AssembleConfig,
    *,
    forward_tokens: int | None = None,
    listener: Listener = null_listener,
) -> tuple[Recipe, ...]:
    """A recipe for every newcomer (person to items in time order), as for each alone.

    Raises MismatchError for a pool of another base, UsageError where it has fewer sharers than
    ``top_k``, DataError for a newcomer with no history, no target token, or of whom a module's
    input says nothing, IntegrityError for damaged pieces. Source: as ``assemble_one``.
    """
    people = check_target_users(base, pool, newcomers, config)
    done: dict[str, Recipe] = {}
    if config.by == "likelihood" and people:
        asking = LikelihoodMixture(
            base, pool, config, forward_tokens=forward_tokens or LIKELIHOOD_FORWARD_TOKENS
        )
        with _prepare_base(base):
            for newcomer in people:
                done[newcomer.person] = asking.make_recipe(newcomer)
                listener(_make_progress(done, people))
        return tuple(done.values())
    forward = GateAssembly(base, pool, config)
    with _prepare_base(base):
        for group in iter_token_groups(people, forward_tokens or FORWARD_TOKENS):
            if all(has_full_attention(base, max(len(e.ids) for e in n.examples)) for n in group):
                recipes = forward.assemble_group(group)
            else:
                recipes = [assemble_checked(base, pool, n, config) for n in group]
            done |= {recipe.person: recipe for recipe in recipes}
            listener(_make_progress(done, people))
    return tuple(done[n.person] for n in people)


@contextmanager
def _prepare_base(base: Base) -> Iterator[None]:
    """While inside, what a forward takes is laid out for speed; numbers stay what they are."""
    with prepack_linear(base.model), chunk_mlp(base.model), keep_freed_memory():
        yield


def _make_progress(done: Sized, people: Sized) -> Progress:
    return Progress(stage="assemble", done=len(done), total=len(people), unit="newcomers")


def iter_token_groups(people: Sequence[TargetUser], budget: int) -> Iterator[list[TargetUser]]:
    """Newcomers in order, as many together as have at most ``budget`` tokens (or one)."""
    some: list[TargetUser] = []
    tokens = 0
    for newcomer in people:
        if some and tokens + newcomer.num_tokens > budget:
            yield some
            some, tokens = [], 0
        some.append(newcomer)
        tokens += newcomer.num_tokens
    if some:
        yield some


class _StopForwardError(Exception):
    """Every module has chosen: the rest of a forward is not wanted."""


class _RunningMeans:
    """The mean LN(x) of each newcomer's inputs at a module, over what predicts their answers.

    Modules side by side, as those of queries, keys and values, share inputs: once is enough.
    """

    def __init__(self, rows: TokenTree, people: Sequence[TargetUser]) -> None:
        self.rows, self.people = rows, people
        self._inputs: Tensor | None = None
        self._means = torch.empty(0)

    def compute_means(self, path: str, inputs: Tensor) -> Tensor:
        """The means [P, D] of inputs [1, N, D]; raises DataError where they say nothing."""
        if inputs is not self._inputs:
            units, flat = normalise_inputs(inputs[0, self.rows.predicting_tokens])
            if flat.any():
                whose = int(self.rows.token_weights[:, int(flat.nonzero()[0])].argmax())
                raise make_flat_input_error(self.people[whose].person, path)
            self._inputs, self._means = inputs, self.rows.token_weights.to(units) @ units
        return self._means


class GateAssembly:
    """Runs newcomers through the base while their pieces are chosen and act."""

    def __init__(self, base: Base, pool: Pool, config: AssembleConfig) -> None:
        self.base, self.pool, self.config = base, pool, config
        self.sharers = pool.sharers
        self._piece_cache: dict[tuple[str, str], Pair] = {}
        self._cached_bytes = 0

    @torch.no_grad()
    def assemble_group(self, people: Sequence[TargetUser]) -> list[Recipe]:
        """The newcomers' recipes, from one forward."""
        answers_only = self.pool.lora.active == "answer"
        rows = build_token_tree(self.base, people, answers_only=answers_only)
        picks: dict[str, list[Pick]] = {}
        means = _RunningMeans(rows, people)

        def make_hook(path: str) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
            def add_pieces(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
                (x,) = inputs[0]
                picks[path] = self._pick_pieces(path, means.compute_means(path, inputs[0]), people)
                if len(picks) == len(self.pool.sites):
                    raise _StopForwardError
                for (begin, end), pick in zip(rows.acting_ranges, picks[path], strict=True):
                    if pick:
                        a, b = (part.to(x.dtype) for part in self._combine_pieces(path, pick))
                        output[0, begin:end].addmm_(x[begin:end] @ a.T, b.T)
                return output

            return add_pieces

        with self._attach_hooks(make_hook), suppress(_StopForwardError):
            forward_tree(self.base, rows.tree)
        return [
            build_recipe(
                newcomer.person,
                [picks[path][n] for path in self.pool.sites],
                self.sharers,
                self.config.aggregate,
            )
            for n, newcomer in enumerate(people)
        ]

    def _pick_pieces(self, path: str, means: Tensor, people: Sequence[TargetUser]) -> list[Pick]:
        """What each newcomer picks at a module by the means [P, D] of its inputs."""
        gates = self.pool.load_gates(path).to(means)
        scores = means @ gates.T / math.sqrt(means.shape[1])
        noise = None
        if self.config.sample:
            names = [newcomer.person for newcomer in people]
            noise = draw_gumbel_noise(names, path, scores.shape[1], self.config.seed)
        return to_picks(
            choose_pieces(scores.cpu(), self.pool.get_shared_mask(path), self.config, noise)
        )

    def _combine_pieces(self, path: str, pick: Pick) -> Pair:
        """The update of some pieces as A and B."""
        pieces = [self._load_piece(self.sharers[n], path) for n, _ in pick]
        weights = [weight for _, weight in pick]
        return combine_pieces(pieces, weights, self.pool.lora.scale, self.config.aggregate)

    def _load_piece(self, sharer: str, path: str) -> Pair:
        """One piece on the base's device, read when it is first wanted."""
        if (sharer, path) not in self._piece_cache:
            dtype = torch.float64 if self.base.dtype == torch.float64 else torch.float32
            a, b = self.pool.load_pieces(sharer, [path])[path]
            pair = a.to(self.base.device, dtype), b.to(self.base.device, dtype)
            size = sum(part.nbytes for part in pair)
            if self._cached_bytes + size > MAX_CACHE_BYTES:
                self._piece_cache, self._cached_bytes = {}, 0
            self._piece_cache[sharer, path] = pair
            self._cached_bytes += size
        return self._piece_cache[sharer, path]

    @contextmanager
    def _attach_hooks(self, hook: Callable[[str], Callable[..., Tensor]]) -> Iterator[None]:
        """While inside, every site has its hook."""
        handles = [
            self.base.model.get_submodule(path).register_forward_hook(hook(path))
            for path in self.pool.sites
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
