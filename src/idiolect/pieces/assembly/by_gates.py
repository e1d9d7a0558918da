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

from idiolect.events import Listener, Progress, silent
from idiolect.models.base import Base
from idiolect.models.cpu.chunked_mlp import chunked
from idiolect.models.cpu.malloc import steady_heap
from idiolect.models.cpu.prepacked_linear import packed
from idiolect.models.forward.partial import sees_all
from idiolect.models.forward.prefix_tree import run_tree
from idiolect.pieces.assembly.by_gates_reference import assemble_checked
from idiolect.pieces.assembly.by_likelihood import ASKED_TOKENS, Likelihood
from idiolect.pieces.assembly.choose import choose, drawn
from idiolect.pieces.assembly.newcomers import Newcomer, checked, flat_input
from idiolect.pieces.assembly.normalise import unit_inputs
from idiolect.pieces.assembly.picks import Pick, picks_of, recipe_of
from idiolect.pieces.assembly.token_tree import Rows, lay_out
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.combine import Pair, combined
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import Recipe
from idiolect.prompts.render import Example

FORWARD_TOKENS = 16384
"""Tokens of a forward by gates. A newcomer's rows run in the same one, since scores are means over
all their items: somebody with more runs alone. The more people, the more prompts are alike."""

HELD_BYTES = 2**30
"""Pieces that were read are held up to so much, then read anew."""


def assemble(
    base: Base,
    pool: Pool,
    newcomers: Mapping[str, Sequence[Example]],
    config: AssembleConfig,
    *,
    forward_tokens: int | None = None,
    listener: Listener = silent,
) -> tuple[Recipe, ...]:
    """A recipe for every newcomer (person to items in time order), as for each alone.

    Raises MismatchError for a pool of another base, UsageError where it has fewer sharers than
    ``top_k``, DataError for a newcomer with no history, no target token, or of whom a module's
    input says nothing, IntegrityError for damaged pieces. Source: as ``assemble_one``.
    """
    people = checked(base, pool, newcomers, config)
    done: dict[str, Recipe] = {}
    if config.by == "likelihood" and people:
        asking = Likelihood(base, pool, config, forward_tokens=forward_tokens or ASKED_TOKENS)
        with _ready(base):
            for newcomer in people:
                done[newcomer.person] = asking.recipe(newcomer)
                listener(_progress(done, people))
        return tuple(done.values())
    forward = Assembly(base, pool, config)
    with _ready(base):
        for group in groups(people, forward_tokens or FORWARD_TOKENS):
            if all(sees_all(base, max(len(e.ids) for e in n.examples)) for n in group):
                recipes = forward.run(group)
            else:
                recipes = [assemble_checked(base, pool, n, config) for n in group]
            done |= {recipe.person: recipe for recipe in recipes}
            listener(_progress(done, people))
    return tuple(done[n.person] for n in people)


@contextmanager
def _ready(base: Base) -> Iterator[None]:
    """While inside, what a forward takes is laid out for speed; numbers stay what they are."""
    with packed(base.model), chunked(base.model), steady_heap():
        yield


def _progress(done: Sized, people: Sized) -> Progress:
    return Progress(stage="assemble", done=len(done), total=len(people), unit="newcomers")


def groups(people: Sequence[Newcomer], budget: int) -> Iterator[list[Newcomer]]:
    """Newcomers in order, as many together as have at most ``budget`` tokens (or one)."""
    some: list[Newcomer] = []
    tokens = 0
    for newcomer in people:
        if some and tokens + newcomer.tokens > budget:
            yield some
            some, tokens = [], 0
        some.append(newcomer)
        tokens += newcomer.tokens
    if some:
        yield some


class _AllChosenError(Exception):
    """Every module has chosen: the rest of a forward is not wanted."""


class _Means:
    """The mean LN(x) of each newcomer's inputs at a module, over what predicts their answers.

    Modules side by side, as those of queries, keys and values, share inputs: once is enough.
    """

    def __init__(self, rows: Rows, people: Sequence[Newcomer]) -> None:
        self.rows, self.people = rows, people
        self._inputs: Tensor | None = None
        self._means = torch.empty(0)

    def of(self, path: str, inputs: Tensor) -> Tensor:
        """The means [P, D] of inputs [1, N, D]; raises DataError where they say nothing."""
        if inputs is not self._inputs:
            units, flat = unit_inputs(inputs[0, self.rows.predicting])
            if flat.any():
                whose = int(self.rows.share[:, int(flat.nonzero()[0])].argmax())
                raise flat_input(self.people[whose].person, path)
            self._inputs, self._means = inputs, self.rows.share.to(units) @ units
        return self._means


class Assembly:
    """Runs newcomers through the base while their pieces are chosen and act."""

    def __init__(self, base: Base, pool: Pool, config: AssembleConfig) -> None:
        self.base, self.pool, self.config = base, pool, config
        self.sharers = pool.sharers
        self._held: dict[tuple[str, str], Pair] = {}
        self._held_bytes = 0

    @torch.no_grad()
    def run(self, people: Sequence[Newcomer]) -> list[Recipe]:
        """The newcomers' recipes, from one forward."""
        answers_only = self.pool.lora.active == "answer"
        rows = lay_out(self.base, people, answers_only=answers_only)
        picks: dict[str, list[Pick]] = {}
        means = _Means(rows, people)

        def hook(path: str) -> Callable[[Any, tuple[Tensor, ...], Tensor], Tensor]:
            def add(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
                (x,) = inputs[0]
                picks[path] = self._pick(path, means.of(path, inputs[0]), people)
                if len(picks) == len(self.pool.sites):
                    raise _AllChosenError
                for (begin, end), pick in zip(rows.acting, picks[path], strict=True):
                    if pick:
                        a, b = (part.to(x.dtype) for part in self._pair(path, pick))
                        output[0, begin:end].addmm_(x[begin:end] @ a.T, b.T)
                return output

            return add

        with self._hooked(hook), suppress(_AllChosenError):
            run_tree(self.base, rows.tree)
        return [
            recipe_of(
                newcomer.person,
                [picks[path][n] for path in self.pool.sites],
                self.sharers,
                self.config.aggregate,
            )
            for n, newcomer in enumerate(people)
        ]

    def _pick(self, path: str, means: Tensor, people: Sequence[Newcomer]) -> list[Pick]:
        """What each newcomer picks at a module by the means [P, D] of its inputs."""
        gates = self.pool.gates(path).to(means)
        scores = means @ gates.T / math.sqrt(means.shape[1])
        noise = None
        if self.config.sample:
            names = [newcomer.person for newcomer in people]
            noise = drawn(names, path, scores.shape[1], self.config.seed)
        return picks_of(choose(scores.cpu(), self.pool.shares(path), self.config, noise))

    def _pair(self, path: str, pick: Pick) -> Pair:
        """The update of some pieces as A and B."""
        pieces = [self._piece(self.sharers[n], path) for n, _ in pick]
        weights = [weight for _, weight in pick]
        return combined(pieces, weights, self.pool.lora.scale, self.config.aggregate)

    def _piece(self, sharer: str, path: str) -> Pair:
        """One piece on the base's device, read when it is first wanted."""
        if (sharer, path) not in self._held:
            dtype = torch.float64 if self.base.dtype == torch.float64 else torch.float32
            a, b = self.pool.pieces(sharer, [path])[path]
            pair = a.to(self.base.device, dtype), b.to(self.base.device, dtype)
            size = sum(part.nbytes for part in pair)
            if self._held_bytes + size > HELD_BYTES:
                self._held, self._held_bytes = {}, 0
            self._held[sharer, path] = pair
            self._held_bytes += size
        return self._held[sharer, path]

    @contextmanager
    def _hooked(self, hook: Callable[[str], Callable[..., Tensor]]) -> Iterator[None]:
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
