"""Weights whole adapters by the likelihood they give to a target user's own answers.

This is the alternative to gates. Each sharer's adapter, and the bare base, predicts the answers of
the target user's history. By Bayes' rule with a uniform prior, the losses give the probability of
each model. The sharers' updates get these probabilities as weights. The base keeps its own share,
so a target user who is unlike all sharers stays near the base. Each target user's items run
separately, so a recipe does not depend on other target users.

Shapes: ``C`` candidate sharers, ``N`` tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from idiolect.adapters.stacks.lora import LoraStack
from idiolect.config import derive_seed
from idiolect.errors import IntegrityError, NotFiniteError
from idiolect.inference.nll import nll_from_hidden
from idiolect.inference.scoring import iter_token_losses
from idiolect.models.base import Base
from idiolect.models.forward.prefix_tree import PrefixTree, TreeNode, forward_tree
from idiolect.pieces.assembly.picks import Pick, build_recipe
from idiolect.pieces.assembly.target_users import TargetUser
from idiolect.pieces.assembly.token_tree import supports_token_trees
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.pieces.recipes.recipe import Recipe
from idiolect.prompts.batch import list_targets
from idiolect.prompts.chat_template import encode_invocation, find_invocation
from idiolect.prompts.render import Example

LIKELIHOOD_FORWARD_TOKENS = 4096
"""Maximum tokens per forward by likelihood: nearly all predict, over the whole vocabulary."""

TIE_STEP = 1e-4
"""Probabilities within one step of this size are a tie, so that rounding does not choose."""


class LikelihoodMixture:
    """Computes the loss of a pool's sharers on target users' answers, and the recipes that
    follow."""

    def __init__(
        self, base: Base, pool: Pool, config: AssembleConfig, *, forward_tokens: int
    ) -> None:
        self.base, self.pool, self.config = base, pool, config
        self.forward_tokens = forward_tokens
        self.candidates = choose_candidates(pool.sharers, config)
        self.adapters = {sharer: pool.get_adapter(sharer) for sharer in self.candidates}
        self.stack = LoraStack(base, pool.lora, len(self.candidates))
        for slot, (sharer, adapter) in enumerate(self.adapters.items()):
            try:
                self.stack.load_slot(slot, adapter)
            except IntegrityError as error:
                raise IntegrityError(
                    f"{pool.folder}: pieces of sharer {sharer}: {error}; withdraw that sharer"
                ) from error
        self._invocation = encode_invocation(base.tokenizer) if pool.lora.active == "answer" else ()

    def make_recipe(self, target_user: TargetUser) -> Recipe:
        """Return a target user's recipe: the most probable sharers' updates, weighted by
        probability."""
        return recipe_from_nll(
            target_user.person,
            self.compute_nll(target_user),
            self.pool,
            self.config,
            candidates=self.candidates,
        )

    @torch.no_grad()
    def compute_nll(self, target_user: TargetUser) -> Tensor:
        """Return the summed loss of the base and of every candidate over all answers [1 + C],
        fp64."""
        longest = max(len(e.ids) for e in target_user.examples)
        if not supports_token_trees(self.base, self.pool.lora, longest):
            return self.compute_nll_sequentially(target_user)
        total = torch.zeros(1 + len(self.candidates), dtype=torch.float64)
        for examples in self._iter_item_groups(target_user.examples):
            total += self._forward_items(examples)
        return total

    def compute_nll_sequentially(self, target_user: TargetUser) -> Tensor:
        """Return the same as ``compute_nll`` with the plainest code: whole rows, one sharer at a
        time.

        Also serves models that do not support token trees.
        """
        total: list[float] = []
        for sharer in ("", *self.candidates):
            rows = [(sharer, example) for example in target_user.examples]
            active_adapters = {sharer: self.adapters[sharer]} if sharer else {}
            losses = iter_token_losses(
                self.base, rows, active_adapters, forward_tokens=self.forward_tokens
            )
            try:
                total.append(sum(nll * times for _, nll, times in losses))
            except NotFiniteError:
                # A loss beyond all numbers: the sharer gets the probability 0.
                total.append(math.inf)
        return torch.tensor(total, dtype=torch.float64)

    def _forward_items(self, examples: Sequence[Example]) -> Tensor:
        """Return the losses [1 + C] of some items: the prompts run once, the answers once per
        candidate."""
        # Prompt nodes first, one per distinct prompt. Adapters do not act on them, so all
        # candidates share them.
        starts = [self._find_active_start(e) for e in examples]
        nodes: list[TreeNode] = []
        prompt_nodes: dict[tuple[int, ...], int] = {(): -1}
        for example, start in zip(examples, starts, strict=True):
            if example.ids[:start] not in prompt_nodes:
                prompt_nodes[example.ids[:start]] = len(nodes)
                nodes.append(TreeNode(example.ids[:start]))
        # Then the answers: one copy for the base, one for each candidate, each attached to its
        # prompt.
        first_answer = len(nodes)
        answers = [
            TreeNode(e.ids[s:-1], prompt_nodes[e.ids[:s]])
            for e, s in zip(examples, starts, strict=True)
        ]
        nodes += answers * (1 + len(self.candidates))
        tree = PrefixTree.from_nodes(nodes, self.base)
        # The base (slot -1) covers the prompts and its own answers; then come the candidates'
        # answers.
        answer_tokens = sum(len(node.ids) for node in answers)
        base_tokens = len(tree.ids) - answer_tokens * len(self.candidates)
        slots = [-1, *range(len(self.candidates))]
        with self.stack.activate_packed(
            slots, [base_tokens, *[answer_tokens] * len(self.candidates)]
        ):
            hidden_ND = forward_tree(self.base, tree)
        # Collect the positions that predict answer tokens, in the order of the answer nodes.
        positions: list[int] = []
        labels: list[int] = []
        counts: list[int] = []
        for number in range(first_answer, len(nodes)):
            example = examples[(number - first_answer) % len(examples)]
            item_positions, item_labels, item_counts = list_targets(example)
            positions += [
                tree.node_starts[number] - tree.prefix_lengths[number] + position
                for position in item_positions
            ]
            labels += item_labels
            counts += item_counts
        label_M = torch.tensor(labels, device=self.base.device)
        nll_M = nll_from_hidden(
            self.base.model, hidden_ND[torch.tensor(positions, device=label_M.device)], label_M
        )
        # Sum per model, counting an item with several answers once per answer.
        weighted_M = nll_M.double() * torch.tensor(counts, device=label_M.device)
        return weighted_M.view(1 + len(self.candidates), -1).sum(dim=1).cpu()

    def _iter_item_groups(self, examples: Sequence[Example]) -> Iterator[list[Example]]:
        """Yield items in order, in groups of at most ``forward_tokens`` tokens (or of one
        item)."""
        group: list[Example] = []
        tokens = 0
        for example in examples:
            start = self._find_active_start(example)
            # The prompt runs once, the answer once for the base and once per candidate.
            size = start + (len(example.ids) - 1 - start) * (1 + len(self.candidates))
            if group and tokens + size > self.forward_tokens:
                yield group
                group, tokens = [], 0
            group.append(example)
            tokens += size
        if group:
            yield group

    def _find_active_start(self, example: Example) -> int:
        """Return the index of an example's first token on which adapters act."""
        return (
            find_invocation(example.ids[: example.answer_start], self._invocation)
            if self._invocation
            else 0
        )


def choose_candidates(sharers: Sequence[str], config: AssembleConfig) -> tuple[str, ...]:
    """Return the sharers to score: all, or a seeded draw of ``config.candidates`` from a larger
    pool.

    The draw is the same for all target users, and a sharer who joins or leaves changes it little.
    """
    if len(sharers) <= config.candidates:
        return tuple(sharers)
    # Each sharer's rank depends only on (seed, sharer), so the draw is stable.
    drawn = sorted(sharers, key=lambda sharer: derive_seed(config.seed, sharer, "candidate"))
    asked = set(drawn[: config.candidates])
    return tuple(sharer for sharer in sharers if sharer in asked)


def recipe_from_nll(
    person: str, nats: Tensor, pool: Pool, config: AssembleConfig, *, candidates: Sequence[str]
) -> Recipe:
    """Return the recipe that follows from the losses of the base and every candidate [1 + C]."""
    pool_index = {sharer: n for n, sharer in enumerate(pool.sharers)}
    chosen = select_most_probable(compute_posterior(nats, config.temperature), config.top_k)
    picks: list[Pick] = []
    for path in pool.sites:
        shares = pool.get_shared_mask(path)
        # A sharer who does not share this module contributes nothing here.
        picked = [(pool_index[candidates[n]], weight) for n, weight in chosen]
        picks.append(tuple((n, weight) for n, weight in picked if shares[n]))
    return build_recipe(person, picks, pool.sharers, "delta")


def compute_posterior(nats: Tensor, temperature: float) -> Tensor:
    """Return probabilities [1 + C] from summed losses in nats [1 + C], for a uniform prior.

    A temperature above 1 trusts the losses less. A loss that is not finite gives the probability
    0, so a damaged sharer takes no share.
    """
    finite = nats.where(nats.isfinite(), torch.inf)
    return (-finite / temperature).softmax(dim=0)


def select_most_probable(weights: Tensor, count: int) -> list[tuple[int, float]]:
    """Return the most probable sharers (index, weight), best first, with weights as a recipe
    stores them.

    Ties go to the sharer who comes first. The base, at index 0, is excluded; its share is not
    reassigned.
    """
    # Compare the weights as they are stored, in half precision.
    stored = weights[1:].half().double().tolist()
    order = sorted(range(len(stored)), key=lambda n: (-round(stored[n] / TIE_STEP), n))
    return [(n, stored[n]) for n in order[:count] if stored[n] > 0]
