"""The protocol of an unlearning method: its loss, and how its trained delta is applied.

Contains no method and no model; ``registry.py`` lists the methods.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, Protocol

from torch import Tensor

from idiolect.prompts.render import Example
from idiolect.unlearning.examples import StepBatch

Direction = Literal["negate", "keep"]
"""``negate``: theta = theta_o - scale * delta, where delta learns what should be forgotten.
``keep``: theta = theta_o + scale * delta, where scale 1 is the trained model."""
LossTerms = Iterator[tuple[str, Tensor]]


class LossModel(Protocol):
    """The model in training, as a loss sees it. Means are over answer tokens only."""

    def compute_nll(self, examples: Sequence[Example]) -> Tensor:
        """Mean negative log-likelihood per token of each example [B], in nats, with gradient."""
        ...

    def compute_initial_nll(self, examples: Sequence[Example]) -> Tensor:
        """The same for the model before training [B]; no gradient."""
        ...

    def compute_kl(self, examples: Sequence[Example]) -> Tensor:
        """Mean KL(before || now) per token of each example [B], in nats, with gradient."""
        ...


class UnlearningMethod(Protocol):
    """A frozen dataclass whose fields are the method's settings."""

    title: ClassVar[str]
    """Short name for tables."""
    direction: ClassVar[Direction]
    rate: ClassVar[float]
    steps: ClassVar[int]
    """Default learning rate (``rate``) and number of steps, tuned on the bundled base
    (docs/notes/unlearning.md)."""
    projects_out_retain: ClassVar[bool]
    """Whether retain directions are projected out of the delta after training (setting ``spare``).
    Methods that train on retain answers must not do this: it would remove what they learned."""

    def iter_loss_terms(self, model: LossModel, batch: StepBatch) -> LossTerms:
        """Yield the named, weighted terms of a step's loss. Training minimizes their sum.

        Terms are yielded one by one, so that only one graph is in memory at a time. A term of
        weight 0 is neither computed nor yielded.
        """
        ...
