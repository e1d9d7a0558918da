"""What an evaluation found, as values: answers per method, before any statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

FORMAT = "idiolect-report"
"""What a report of them says it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One query of one person, answered by one method."""

    person: str
    query: str
    prompt: str
    gold: str
    text: str
    raw: str = ""
    """What the model wrote before it was read as an answer; empty where the same as ``text``."""
    gold_nll: float | None = None
    """Summed negative log likelihood of the gold answer's tokens, in nats."""
    gold_tokens: int = 0
    choice_probabilities: tuple[float, ...] = ()
    """Restricted-choice likelihood over the task's choices, where it has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRun:
    """Every answer of one method, and what it cost."""

    method: str
    """E.g. ``base``, ``rag``, ``pag``, ``full-history``, ``oppu``, ``oppu+rag``, ``oppu+pag``,
    ``person-mean``, ``person-median``; ``(gated)`` behind it where the do-no-harm gate is on."""
    answers: tuple[Answer, ...]
    train_seconds: float = 0.0
    predict_seconds: float = 0.0
    train_tokens: int = 0
    bytes_per_person: int = 0
    served_by_base: tuple[str, ...] = ()
    """People whose adapter was not used: too few items, or the gate said no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossCurve:
    """A training curve: mean loss per step over the people still training."""

    name: str
    steps: tuple[int, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Methods side by side on the same people and queries of one task."""

    task: str
    dataset: str
    base: str
    """Which base, and whether and on what it was task-adapted, in one sentence."""
    runs: tuple[MethodRun, ...]
    reference: str = "base"
    """The method that the others are paired against."""
    curves: tuple[LossCurve, ...] = ()
    seeds: tuple[int, ...] = ()
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    """The resolved configuration, plain data."""
