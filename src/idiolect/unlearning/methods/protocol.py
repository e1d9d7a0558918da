"""What a method of unlearning is: its loss, and what becomes of the delta that it trains.

Knows no particular method and no model; ``registry.py`` lists the methods.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, Protocol

from torch import Tensor

from idiolect.prompts.render import Example
from idiolect.unlearning.examples import StepBatch

Direction = Literal["negate", "keep"]
"""``negate``: theta = theta_o - scale * delta, delta being what should go; ``keep``: theta_o +
scale * delta, where 1 is what was trained."""
LossTerms = Iterator[tuple[str, Tensor]]


class LossModel(Protocol):
    """The model in training, as a loss sees it. Means are over answer tokens alone."""

    def compute_nll(self, examples: Sequence[Example]) -> Tensor:
        """Each example's mean negative log likelihood a token [B], nats, with gradient."""
        ...

    def compute_initial_nll(self, examples: Sequence[Example]) -> Tensor:
        """The same of the model that training began with [B]; no gradient."""
        ...

    def compute_kl(self, examples: Sequence[Example]) -> Tensor:
        """Each example's mean KL(before || now) a token [B], nats, with gradient."""
        ...


class UnlearningMethod(Protocol):
    """A frozen dataclass whose fields are the method's settings."""

    title: ClassVar[str]
    """What it is, in a few words, for tables."""
    direction: ClassVar[Direction]
    rate: ClassVar[float]
    steps: ClassVar[int]
    """How it is trained where nobody says so; chosen on the embedded base by trials
    (docs/notes/unlearning.md)."""
    projects_out_retain: ClassVar[bool]
    """Whether its delta is kept off what retain text needs after training (`spare`). What learnt to
    answer with retain answers would lose just that."""

    def iter_loss_terms(self, model: LossModel, draw: StepBatch) -> LossTerms:
        """The terms of a step's loss with their names, already weighted; their sum is minimised.

        They come one by one, so that no two graphs need to be there at once. A term of weight 0
        does not come, nor is anything computed for it.
        """
        ...
