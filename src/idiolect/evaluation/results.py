"""The results of an evaluation as plain values: answers of each method, before any statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FORMAT = "idiolect-report"
"""The value of ``format`` in an evaluation's ``report.json``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of one method to one query of one person."""

    person: str
    query: str
    prompt: str
    gold: str
    text: str
    raw: str = ""
    """The model's output before it was parsed as an answer; empty if it is the same as ``text``."""
    gold_nll: float | None = None
    """Negative log likelihood of the gold answer, summed over its tokens, in nats; ``None`` if the
    method has no likelihoods."""
    gold_tokens: int = 0
    """Number of tokens in the gold answer."""
    choice_probabilities: tuple[float, ...] = ()
    """Probabilities of the task's choices, normalized over them; empty if any text is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRun:
    """All answers of one method, and its costs."""

    method: str
    """E.g. ``base``, ``rag``, ``pag``, ``full-history``, ``oppu``, ``oppu+rag``, ``oppu+pag``,
    ``person-mean``, ``person-median``; followed by ``(gated)`` if the do-no-harm gate is on."""
    answers: tuple[Answer, ...]
    train_seconds: float = 0.0
    predict_seconds: float = 0.0
    train_tokens: int = 0
    bytes_per_person: int = 0
    served_by_base: tuple[str, ...] = ()
    """People whose adapter was not used: too few items, or rejected by the gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossCurve:
    """A training curve: at each step, the mean loss over the people who are still training."""

    name: str
    steps: tuple[int, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The results of several methods on the same people and queries of one task."""

    task: str
    dataset: str
    base: str
    """The base model, and the data of its task adaptation if there was one, in one sentence."""
    runs: tuple[MethodRun, ...]
    reference: str = "base"
    """The method that the others are compared with, person by person."""
    curves: tuple[LossCurve, ...] = ()
    seeds: tuple[int, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    """The resolved configuration as plain data."""
