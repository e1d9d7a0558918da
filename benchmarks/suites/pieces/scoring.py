"""Losses of people's held-out items, and likelihoods of choices, under many sets of adapters.

If adapters act on answers only, each prompt runs once for all of them (``ActivationCache``): the
same mathematics as serving, in a fraction of the time. A test compares it with the generator.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch

from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.adapters.stacks.base import slots_of
from idiolect.inference.generator import pick_median_choice
from idiolect.inference.scoring import PersonExample, iter_token_losses
from idiolect.models.base import Base
from idiolect.models.cpu.malloc import keep_freed_memory
from idiolect.models.cpu.prepacked_linear import prepack_linear
from idiolect.prompts.batch import batches_within_token_budget
from idiolect.prompts.render import Example
from idiolect.training.engine.activation_cache import ActivationCache

FORWARD_TOKENS = 1024
STACKED_PEOPLE = 10
"""People whose adapters are stacked at once: assembled ones have four times the usual rank."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """The scores of one method, one per person in the given order."""

    nats: tuple[float, ...]
    """Mean loss per target token; for ratings, of the gold answer and the end of the answer."""
    mae: tuple[float, ...] = ()
    """Mean absolute error, if answers are numbers."""


class HeldOutScorer:
    """Held-out items of some people, prepared to be scored with any adapters of one config."""

    def __init__(
        self,
        base: Base,
        lora: LoraConfig,
        asked: Mapping[str, Sequence[Example]],
        *,
        choices: Sequence[int] = (),
    ) -> None:
        self.base, self.people, self.choices = base, tuple(asked), tuple(choices)
        self.rows: list[PersonExample] = [
            (person, self._expand_choices(e)) for person in asked for e in asked[person]
        ]
        self.gold_ids = [e.ids[e.answer_start] for person in asked for e in asked[person]]
        self.activation_cache: ActivationCache | None = None
        if lora.active == "answer":
            self.activation_cache = ActivationCache(base, lora, forward_tokens=FORWARD_TOKENS)
            self.activation_cache.max_bytes = 2**40
            with torch.inference_mode():
                self.activation_cache.ensure_cached([e for _, e in self.rows])

    def score_adapters(self, adapters: Mapping[str, LoraAdapter]) -> Scores:
        """Return the scores of all people, with the base if a person has no adapter."""
        found = self.compute_losses(adapters)
        # Collect the losses of each person's rows.
        per: dict[str, list[list[float]]] = {person: [] for person in self.people}
        golds: dict[str, list[int]] = {person: [] for person in self.people}
        for (person, _), nats, gold in zip(self.rows, found, self.gold_ids, strict=True):
            per[person].append(nats)
            golds[person].append(gold)
        # Free text: the mean over all target tokens. Choices: the gold choice, and the median.
        if not self.choices:
            flat = [[n for nats in per[p] for n in nats] for p in self.people]
            return Scores(nats=tuple(map(fmean, flat)))
        some = [list(zip(per[p], golds[p], strict=True)) for p in self.people]
        return Scores(
            nats=tuple(fmean(self._average_gold_nats(n, g) for n, g in theirs) for theirs in some),
            mae=tuple(fmean(self._compute_error(n, g) for n, g in theirs) for theirs in some),
        )

    @torch.inference_mode()
    def compute_losses(self, adapters: Mapping[str, LoraAdapter]) -> list[list[float]]:
        """Return the loss of each target token in nats, for each row.

        With choices: the loss of each choice, then of the tokens that follow the gold one.
        """
        out: list[list[float]] = [[] for _ in self.rows]
        # Stack the adapters of a few people at a time, to limit memory.
        for start in range(0, len(self.people), STACKED_PEOPLE):
            people = self.people[start : start + STACKED_PEOPLE]
            numbers = [n for n, (person, _) in enumerate(self.rows) if person in people]
            theirs = {p: adapters[p] for p in people if p in adapters}
            with prepack_linear(self.base.model), keep_freed_memory():
                for row, nats in self._iter_losses([self.rows[n] for n in numbers], theirs):
                    out[numbers[row]].append(nats)
        return out

    def _iter_losses(
        self, rows: Sequence[PersonExample], adapters: Mapping[str, LoraAdapter]
    ) -> Iterator[tuple[int, float]]:
        """Yield row number and loss of each target token, in order within a row."""
        # Whole forward passes if adapters act on prompts, or if there are none.
        if self.activation_cache is None or not adapters:
            for row, nats, _ in iter_token_losses(
                self.base, rows, adapters, forward_tokens=FORWARD_TOKENS
            ):
                yield row, nats
            return
        # Otherwise continue from the cached prompts.
        stack = stack_adapters(self.base, list(adapters.values()))
        slots = {person: slot for slot, person in enumerate(adapters)}
        widths = [len(e.ids) - self.activation_cache.find_active_start(e) for _, e in rows]
        for parcel in batches_within_token_budget(widths, FORWARD_TOKENS):
            chosen = [rows[i] for i in parcel]
            owners = slots_of([person for person, _ in chosen], slots, self.base.device)
            nll, batch = self.activation_cache.target_nll(stack, [e for _, e in chosen], owners)
            for row, nats in zip(batch.row.tolist(), nll.tolist(), strict=True):
                yield parcel[row], nats

    def _expand_choices(self, example: Example) -> Example:
        """With choices, return an example that scores each of them in one forward pass."""
        if not self.choices:
            return example
        return replace(example, label_counts=tuple((choice, 1) for choice in self.choices))

    def _average_gold_nats(self, nats: Sequence[float], gold: int) -> float:
        """Return the mean over the gold choice's token and those that follow it."""
        behind = nats[len(self.choices) :]
        return (nats[self.choices.index(gold)] + sum(behind)) / (1 + len(behind))

    def _compute_error(self, nats: Sequence[float], gold: int) -> float:
        """Return the distance of the median choice (by likelihood) from the gold one."""
        weights = [math.exp(-n) for n in nats[: len(self.choices)]]
        chances = [weight / sum(weights) for weight in weights]
        return float(abs(pick_median_choice(chances) - self.choices.index(gold)))
