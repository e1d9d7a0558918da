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

from idiolect.adapters.stacks.lora import LoraStack
from idiolect.config import derive_seed
from idiolect.inference.nll import nll_from_hidden
from idiolect.inference.scoring import iter_token_losses
from idiolect.models.base import Base
from idiolect.models.forward.partial import has_full_attention
from idiolect.models.forward.prefix_tree import PrefixTree, TreeNode, forward_tree
from idiolect.pieces.assembly.newcomers import TargetUser
from idiolect.pieces.assembly.picks import Pick, build_recipe
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import Recipe
from idiolect.prompts.batch import list_targets
from idiolect.prompts.chat_template import encode_invocation, find_invocation
from idiolect.prompts.render import Example

LIKELIHOOD_FORWARD_TOKENS = 4096
"""Tokens of a forward by likelihood: nearly all predict, over the whole vocabulary."""

TIE_STEP = 1e-4
"""Probabilities in the same step of this size are a tie: rounding must not choose."""


class LikelihoodMixture:
    """Asks a pool's sharers what they would lose on newcomers' answers."""

    def __init__(
        self, base: Base, pool: Pool, config: AssembleConfig, *, forward_tokens: int
    ) -> None:
        self.base, self.pool, self.config = base, pool, config
        self.forward_tokens = forward_tokens
        self.candidates = choose_candidates(pool.sharers, config)
        self.adapters = {sharer: pool.get_adapter(sharer) for sharer in self.candidates}
        self.stack = LoraStack(
            base, pool.lora, len(self.candidates) + 1
        )  # the last slot stays zero
        for slot, adapter in enumerate(self.adapters.values()):
            self.stack.load_slot(slot, adapter)
        self._invocation = encode_invocation(base.tokenizer) if pool.lora.active == "answer" else ()

    def make_recipe(self, newcomer: TargetUser) -> Recipe:
        """A newcomer's recipe: the most probable sharers' updates, each by its probability."""
        return recipe_from_nll(
            newcomer.person,
            self.compute_nll(newcomer),
            self.pool,
            self.config,
            asked=self.candidates,
        )

    @torch.no_grad()
    def compute_nll(self, newcomer: TargetUser) -> Tensor:
        """What the base and every asked sharer lose on all answers together [1 + C], fp64."""
        longest = max(len(e.ids) for e in newcomer.examples)
        if not has_full_attention(self.base, longest):
            return self.compute_nll_sequentially(newcomer)
        total = torch.zeros(1 + len(self.candidates), dtype=torch.float64)
        for examples in self._iter_item_groups(newcomer.examples):
            total += self._forward_items(examples)
        return total

    def compute_nll_sequentially(self, newcomer: TargetUser) -> Tensor:
        """The same as obviously as can be: whole rows, one sharer after another."""
        total: list[float] = []
        for sharer in ("", *self.candidates):
            rows = [(sharer, example) for example in newcomer.examples]
            some = {sharer: self.adapters[sharer]} if sharer else {}
            found = iter_token_losses(self.base, rows, some, forward_tokens=self.forward_tokens)
            total.append(sum(nll * times for _, nll, times in found))
        return torch.tensor(total, dtype=torch.float64)

    def _forward_items(self, examples: Sequence[Example]) -> Tensor:
        """Some items: the prompts once, behind them every candidate's answers [1 + C]."""
        starts = [self._find_active_start(e) for e in examples]
        spans: list[TreeNode] = []
        behind: dict[tuple[int, ...], int] = {(): -1}
        for example, start in zip(examples, starts, strict=True):
            if example.ids[:start] not in behind:
                behind[example.ids[:start]] = len(spans)
                spans.append(TreeNode(example.ids[:start]))
        first = len(spans)
        answers = [
            TreeNode(e.ids[s:-1], behind[e.ids[:s]]) for e, s in zip(examples, starts, strict=True)
        ]
        spans += answers * (1 + len(self.candidates))
        tree = PrefixTree.from_nodes(spans, self.base)
        own = sum(len(span.ids) for span in answers)
        bare = len(tree.ids) - own * len(self.candidates)
        slots = [len(self.candidates), *range(len(self.candidates))]
        with self.stack.activate_packed(slots, [bare, *[own] * len(self.candidates)]):
            hidden = forward_tree(self.base, tree)
        places: list[int] = []
        labels: list[int] = []
        times: list[int] = []
        for number in range(first, len(spans)):
            example = examples[(number - first) % len(examples)]
            where, what, count = list_targets(example)
            places += [tree.node_starts[number] - tree.prefix_lengths[number] + at for at in where]
            labels += what
            times += count
        label = torch.tensor(labels, device=self.base.device)
        nll = nll_from_hidden(
            self.base.model, hidden[torch.tensor(places, device=label.device)], label
        )
        weighted = nll.double() * torch.tensor(times, device=label.device)
        return weighted.view(1 + len(self.candidates), -1).sum(dim=1).cpu()

    def _iter_item_groups(self, examples: Sequence[Example]) -> Iterator[list[Example]]:
        """Items in order, as many together as have at most so many tokens (or one)."""
        some: list[Example] = []
        tokens = 0
        for example in examples:
            start = self._find_active_start(example)
            size = start + (len(example.ids) - 1 - start) * (1 + len(self.candidates))
            if some and tokens + size > self.forward_tokens:
                yield some
                some, tokens = [], 0
            some.append(example)
            tokens += size
        if some:
            yield some

    def _find_active_start(self, example: Example) -> int:
        """The first token of an example on which adapters act."""
        return (
            find_invocation(example.ids[: example.answer_start], self._invocation)
            if self._invocation
            else 0
        )


def choose_candidates(sharers: Sequence[str], config: AssembleConfig) -> tuple[str, ...]:
    """Who is asked: everyone, or of more than ``config.candidates`` a draw, the same for all
    newcomers and little changed by who comes or goes."""
    if len(sharers) <= config.candidates:
        return tuple(sharers)
    drawn = sorted(sharers, key=lambda sharer: derive_seed(config.seed, sharer, "candidate"))
    asked = set(drawn[: config.candidates])
    return tuple(sharer for sharer in sharers if sharer in asked)


def recipe_from_nll(
    person: str, nats: Tensor, pool: Pool, config: AssembleConfig, *, asked: Sequence[str]
) -> Recipe:
    """The recipe that follows from what the base and every asked sharer of a pool lose [1 + C]."""
    place = {sharer: n for n, sharer in enumerate(pool.sharers)}
    chosen = select_most_probable(compute_posterior(nats, config.temperature), config.top_k)
    picks: list[Pick] = []
    for path in pool.sites:
        shares = pool.get_shared_mask(path)
        here = [(place[asked[n]], weight) for n, weight in chosen]
        picks.append(tuple((n, weight) for n, weight in here if shares[n]))
    return build_recipe(person, picks, pool.sharers, "delta")


def compute_posterior(nats: Tensor, temperature: float) -> Tensor:
    """Probabilities [1 + C] from summed losses in nats [1 + C], all alike beforehand; a temperature
    above 1 trusts the losses less."""
    return (-nats / temperature).softmax(dim=0)


def select_most_probable(weights: Tensor, count: int) -> list[tuple[int, float]]:
    """The sharers of highest probability and these, best first, as a recipe stores them; ties go to
    who stands first. The base, at place 0, is left out: its share is what is not given away."""
    stored = weights[1:].half().double().tolist()
    order = sorted(range(len(stored)), key=lambda n: (-round(stored[n] / TIE_STEP), n))
    return [(n, stored[n]) for n in order[:count] if stored[n] > 0]
