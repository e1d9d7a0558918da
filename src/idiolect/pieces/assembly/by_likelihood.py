"""Whole adapters weighted by how likely they make a newcomer's own answers.

The other way to choose, beside gates: each sharer's adapter, and the bare base, predicts the
answers of the newcomer's history. What each would have lost says how probable it is that they are
the one who answers like this (Bayes' rule, all alike beforehand). Sharers' updates get these
probabilities as weights; the base keeps its own, so who is like nobody stays near the base. A
newcomer's items run alone: nobody else's change a bit of their recipe.

Shapes: ``C`` sharers who are asked; ``N`` tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from idiolect.adapters.stacks.lora import Stack
from idiolect.config import derive_seed
from idiolect.inference.nll import head_nll
from idiolect.inference.scoring import token_losses
from idiolect.models.base import Base
from idiolect.models.forward.partial import sees_all
from idiolect.models.forward.prefix_tree import Span, Tree, run_tree
from idiolect.pieces.assembly.newcomers import Newcomer
from idiolect.pieces.assembly.picks import Pick, recipe_of
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import Recipe
from idiolect.prompts.batch import targets_of
from idiolect.prompts.chat_template import invocation_of, invoked_at
from idiolect.prompts.render import Example

ASKED_TOKENS = 4096
"""Tokens of a forward by likelihood: nearly all predict, over the whole vocabulary."""

TIE = 1e-4
"""Probabilities in the same step of this size are a tie: rounding must not choose."""


class Likelihood:
    """Asks a pool's sharers what they would lose on newcomers' answers."""

    def __init__(
        self, base: Base, pool: Pool, config: AssembleConfig, *, forward_tokens: int
    ) -> None:
        self.base, self.pool, self.config = base, pool, config
        self.forward_tokens = forward_tokens
        self.asked = candidates(pool.sharers, config)
        self.adapters = {sharer: pool.adapter(sharer) for sharer in self.asked}
        self.stack = Stack(base, pool.lora, len(self.asked) + 1)  # the last slot stays zero
        for slot, adapter in enumerate(self.adapters.values()):
            self.stack.put(slot, adapter)
        self._call = invocation_of(base.tokenizer) if pool.lora.active == "answer" else ()

    def recipe(self, newcomer: Newcomer) -> Recipe:
        """A newcomer's recipe: the most probable sharers' updates, each by its probability."""
        return recipe_by(
            newcomer.person, self.nats(newcomer), self.pool, self.config, asked=self.asked
        )

    @torch.no_grad()
    def nats(self, newcomer: Newcomer) -> Tensor:
        """What the base and every asked sharer lose on all answers together [1 + C], fp64."""
        longest = max(len(e.ids) for e in newcomer.examples)
        if not sees_all(self.base, longest):
            return self.nats_one_by_one(newcomer)
        total = torch.zeros(1 + len(self.asked), dtype=torch.float64)
        for examples in self._portions(newcomer.examples):
            total += self._forward(examples)
        return total

    def nats_one_by_one(self, newcomer: Newcomer) -> Tensor:
        """The same as obviously as can be: whole rows, one sharer after another."""
        total: list[float] = []
        for sharer in ("", *self.asked):
            rows = [(sharer, example) for example in newcomer.examples]
            some = {sharer: self.adapters[sharer]} if sharer else {}
            found = token_losses(self.base, rows, some, forward_tokens=self.forward_tokens)
            total.append(sum(nll * times for _, nll, times in found))
        return torch.tensor(total, dtype=torch.float64)

    def _forward(self, examples: Sequence[Example]) -> Tensor:
        """Some items: the prompts once, behind them every candidate's answers [1 + C]."""
        starts = [self._start(e) for e in examples]
        spans: list[Span] = []
        behind: dict[tuple[int, ...], int] = {(): -1}
        for example, start in zip(examples, starts, strict=True):
            if example.ids[:start] not in behind:
                behind[example.ids[:start]] = len(spans)
                spans.append(Span(example.ids[:start]))
        first = len(spans)
        answers = [
            Span(e.ids[s:-1], behind[e.ids[:s]]) for e, s in zip(examples, starts, strict=True)
        ]
        spans += answers * (1 + len(self.asked))
        tree = Tree.of(spans, self.base)
        own = sum(len(span.ids) for span in answers)
        bare = len(tree.ids) - own * len(self.asked)
        slots = [len(self.asked), *range(len(self.asked))]
        with self.stack.applied_to_tokens(slots, [bare, *[own] * len(self.asked)]):
            hidden = run_tree(self.base, tree)
        places: list[int] = []
        labels: list[int] = []
        times: list[int] = []
        for number in range(first, len(spans)):
            example = examples[(number - first) % len(examples)]
            where, what, count = targets_of(example)
            places += [tree.begins[number] - tree.depths[number] + at for at in where]
            labels += what
            times += count
        label = torch.tensor(labels, device=self.base.device)
        nll = head_nll(self.base.model, hidden[torch.tensor(places, device=label.device)], label)
        weighted = nll.double() * torch.tensor(times, device=label.device)
        return weighted.view(1 + len(self.asked), -1).sum(dim=1).cpu()

    def _portions(self, examples: Sequence[Example]) -> Iterator[list[Example]]:
        """Items in order, as many together as have at most so many tokens (or one)."""
        some: list[Example] = []
        tokens = 0
        for example in examples:
            start = self._start(example)
            size = start + (len(example.ids) - 1 - start) * (1 + len(self.asked))
            if some and tokens + size > self.forward_tokens:
                yield some
                some, tokens = [], 0
            some.append(example)
            tokens += size
        if some:
            yield some

    def _start(self, example: Example) -> int:
        """The first token of an example on which adapters act."""
        return invoked_at(example.ids[: example.answer_start], self._call) if self._call else 0


def candidates(sharers: Sequence[str], config: AssembleConfig) -> tuple[str, ...]:
    """Who is asked: everyone, or of more than ``config.candidates`` a draw, the same for all
    newcomers and little changed by who comes or goes."""
    if len(sharers) <= config.candidates:
        return tuple(sharers)
    drawn = sorted(sharers, key=lambda sharer: derive_seed(config.seed, sharer, "candidate"))
    asked = set(drawn[: config.candidates])
    return tuple(sharer for sharer in sharers if sharer in asked)


def recipe_by(
    person: str, nats: Tensor, pool: Pool, config: AssembleConfig, *, asked: Sequence[str]
) -> Recipe:
    """The recipe that follows from what the base and every asked sharer of a pool lose [1 + C]."""
    place = {sharer: n for n, sharer in enumerate(pool.sharers)}
    chosen = most_probable(posterior(nats, config.temperature), config.top_k)
    picks: list[Pick] = []
    for path in pool.sites:
        shares = pool.shares(path)
        here = [(place[asked[n]], weight) for n, weight in chosen]
        picks.append(tuple((n, weight) for n, weight in here if shares[n]))
    return recipe_of(person, picks, pool.sharers, "delta")


def posterior(nats: Tensor, temperature: float) -> Tensor:
    """Probabilities [1 + C] from summed losses in nats [1 + C], all alike beforehand; a temperature
    above 1 trusts the losses less."""
    return (-nats / temperature).softmax(dim=0)


def most_probable(weights: Tensor, count: int) -> list[tuple[int, float]]:
    """The sharers of highest probability and these, best first, as a recipe stores them; ties go to
    who stands first. The base, at place 0, is left out: its share is what is not given away."""
    stored = weights[1:].half().double().tolist()
    order = sorted(range(len(stored)), key=lambda n: (-round(stored[n] / TIE), n))
    return [(n, stored[n]) for n in order[:count] if stored[n] > 0]
