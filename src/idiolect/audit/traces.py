"""The losses of each answer token under the base and with an artifact: what most attacks start
from.

One forward of the base and one of the artifact give them for all items. They also say what greedy
decoding would do: an artifact that is given a text's beginning continues with exactly its rest if
and only if every token of the rest is its most likely one. And the loss of the rest is the
probability that one sample equals it. So verbatim extraction (Carlini et al., arXiv 2012.07805 and
2202.07646) of every part of every item needs no generation; this is the (n, p)-discoverable
extraction of Hayes et al. (arXiv 2410.19482).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from idiolect.adapters.protocol import Adapter
from idiolect.audit.plan import AuditPlan
from idiolect.errors import IntegrityError, NotFiniteError
from idiolect.inference.scoring import PersonExample, TokenScore, iter_token_scores
from idiolect.models.base import Base
from idiolect.prompts.render import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLosses:
    """The target tokens of one item under one model, in order; the last one ends the answer."""

    nats: tuple[float, ...]
    is_top: tuple[bool, ...]
    """Whether each token is the model's most likely one."""
    counts: tuple[float, ...]
    """How often each token counts in the mean."""

    @property
    def mean(self) -> float:
        """Mean loss per target token, in nats."""
        total = sum(loss * count for loss, count in zip(self.nats, self.counts, strict=True))
        return total / sum(self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemTrace:
    """One item under the base and with the artifact."""

    example: Example
    base: TokenLosses
    found: TokenLosses

    @property
    def answer(self) -> tuple[int, ...]:
        """The answer's tokens without the token that ends it."""
        return self.example.ids[self.example.answer_start : -1]

    def sum_base(self, start: int = 0, end: int | None = None) -> float:
        """The base's loss of the answer tokens from ``start`` to ``end``, in nats."""
        return sum(self.base.nats[start:end])

    def sum_found(self, start: int = 0, end: int | None = None) -> float:
        """The artifact's loss of these tokens, in nats."""
        return sum(self.found.nats[start:end])

    def gain(self, start: int = 0, end: int | None = None) -> float:
        """By how many nats the artifact makes these tokens likelier than the base."""
        return self.sum_base(start, end) - self.sum_found(start, end)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attacked:
    """One person's plan and traces, with the artifact under attack."""

    plan: AuditPlan
    traces: Mapping[int, ItemTrace]
    """By number of the trained item."""
    adapter: Adapter | None


def compute_token_losses(
    base: Base,
    rows: Sequence[PersonExample],
    adapters: Mapping[str, Adapter],
    *,
    forward_tokens: int,
    name: str,
) -> list[TokenLosses]:
    """Return the losses of each row's target tokens, with the person's adapter if there is one.

    ``name`` is the artifact's, for errors. Raises IntegrityError if a loss is not finite.
    """
    scores: list[list[TokenScore]] = [[] for _ in rows]
    try:
        for one in iter_token_scores(base, rows, adapters, forward_tokens=forward_tokens):
            scores[one.row].append(one)
    except NotFiniteError as error:
        raise IntegrityError(f"audit: the {name} of {error}") from error
    return [
        TokenLosses(
            nats=tuple(one.loss for one in tokens),
            is_top=tuple(one.is_top for one in tokens),
            counts=tuple(one.count for one in tokens),
        )
        for tokens in scores
    ]
