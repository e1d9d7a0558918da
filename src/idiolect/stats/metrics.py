"""Metrics of answers: those of LaMP, and perplexity.

Takes predictions, gold answers and likelihoods; independent of task, model and person. Each metric
takes any set of answers: over one person's queries it gives the person's score, over the queries of
all people the pooled score. Follows the evaluation script of the LaMP benchmark
(github.com/LaMP-Benchmark/LaMP, ``eval/evaluation.py``); the docstrings name the differences.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, cast

from idiolect.errors import DataError, UsageError

Direction = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredAnswer:
    """One query: the prediction, the gold answer, and the gold answer's likelihood.

    ``nll`` is the summed negative log likelihood of the gold answer in nats over its ``tokens``.
    ``choices`` are the possible answers; empty if any text is allowed.
    """

    prediction: str
    gold: str
    nll: float | None = None
    tokens: int = 0
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A way to score answers, and which direction is better."""

    name: str
    title: str
    meaning: str
    """One plain sentence for readers of a report."""
    direction: Direction
    compute: Callable[[Sequence[ScoredAnswer]], float]
    is_readable: Callable[[ScoredAnswer], bool] = lambda outcome: True
    """Whether a prediction can be parsed as an answer of the expected kind."""
    needs_likelihood: bool = False

    def score(self, outcomes: Sequence[ScoredAnswer]) -> float | None:
        """Return the metric over the answers; ``None`` if it needs likelihoods and one is missing.

        Raises UsageError if there are no answers, DataError if a gold answer or likelihood cannot
        be scored.
        """
        if not outcomes:
            raise UsageError(f"{self.name}: no answers to score; give at least one")
        if self.needs_likelihood and any(o.nll is None or o.tokens < 1 for o in outcomes):
            return None
        return self.compute(outcomes)

    def score_people(
        self, people: Mapping[str, Sequence[ScoredAnswer]]
    ) -> Mapping[str, float] | None:
        """Return each person's score over their own queries; ``None`` as for ``score``."""
        scores = {person: self.score(outcomes) for person, outcomes in people.items()}
        if any(score is None for score in scores.values()):
            return None
        return cast("dict[str, float]", scores)

    def count_unreadable(self, outcomes: Sequence[ScoredAnswer]) -> int:
        """Count the predictions that cannot be parsed, e.g. a rating that is not a number."""
        return sum(not self.is_readable(outcome) for outcome in outcomes)


def get_metric(name: str) -> Metric:
    """Return the metric with that name; raises UsageError if it is unknown."""
    if name not in METRICS:
        raise UsageError(f"unknown metric {name!r}; known: {', '.join(METRICS)}")
    return METRICS[name]


def _is_choice(outcome: ScoredAnswer) -> bool:
    return not outcome.choices or outcome.prediction.strip() in outcome.choices


def _is_number(outcome: ScoredAnswer) -> bool:
    return _parse_number(outcome.prediction) is not None


def _parse_number(text: str) -> float | None:
    try:
        value = float(text.strip())
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _compute_accuracy(outcomes: Sequence[ScoredAnswer]) -> float:
    right = sum(o.prediction.strip() == o.gold.strip() for o in outcomes)
    return right / len(outcomes)


def _compute_macro_f1(outcomes: Sequence[ScoredAnswer]) -> float:
    """Return the mean F1 over the labels that occur in these gold answers and predictions.

    As in LaMP, a prediction outside the choices is wrong but does not add a label. LaMP also counts
    labels that are neither predicted nor gold (as 0). Over one person's few queries, that would
    measure which labels the person lacks, so unseen labels do not count here.
    """
    golds = [o.gold.strip() for o in outcomes]
    predictions = [o.prediction.strip() for o in outcomes]
    labels = sorted(
        {*golds, *(p for p, o in zip(predictions, outcomes, strict=True) if _is_choice(o))}
    )
    total = 0.0
    for label in labels:
        # F1 = 2 TP / (gold + predicted).
        hits = sum(g == p == label for g, p in zip(golds, predictions, strict=True))
        total += 2 * hits / (golds.count(label) + predictions.count(label))
    return total / len(labels)


def _compute_absolute_errors(outcomes: Sequence[ScoredAnswer]) -> list[float]:
    """Return absolute errors; text that is not a number counts as 1 or 5, whichever is farther.

    For a gold answer of 3 it counts as 5, as in the LaMP script (both give the same error).
    """
    errors: list[float] = []
    for outcome in outcomes:
        gold, value = _parse_number(outcome.gold), _parse_number(outcome.prediction)
        if gold is None:
            raise DataError(
                f"the gold answer {outcome.gold!r} is not a number",
                hint="choose a task or metric that fits this dataset",
            )
        # As in LaMP: an unreadable rating gets the largest possible error.
        if value is None:
            value = 1.0 if abs(1 - gold) > abs(5 - gold) else 5.0
        errors.append(abs(value - gold))
    return errors


def _compute_mae(outcomes: Sequence[ScoredAnswer]) -> float:
    return math.fsum(_compute_absolute_errors(outcomes)) / len(outcomes)


def _compute_rmse(outcomes: Sequence[ScoredAnswer]) -> float:
    return math.sqrt(math.fsum(e * e for e in _compute_absolute_errors(outcomes)) / len(outcomes))


@functools.cache
def _load_rouge_scorer(kind: str) -> Any:
    # Imported here because it loads nltk, which only the two ROUGE metrics need.
    from rouge_score import rouge_scorer  # pyright: ignore[reportMissingTypeStubs]

    return rouge_scorer.RougeScorer([kind], use_stemmer=False)


def _compute_rouge(kind: str, outcomes: Sequence[ScoredAnswer]) -> float:
    """Return the mean F-measure of Google's ROUGE, without stemming.

    LaMP calls Hugging Face's ``evaluate`` with its defaults, which do not stem. The tokenizer keeps
    only a-z and 0-9, so text in other scripts scores 0.
    """
    scorer = _load_rouge_scorer(kind)
    scores = [scorer.score(o.gold.strip(), o.prediction.strip())[kind].fmeasure for o in outcomes]
    return math.fsum(scores) / len(scores)


def _compute_perplexity(outcomes: Sequence[ScoredAnswer]) -> float:
    """Return exp(total nats / total tokens): long answers weigh more than short ones."""
    nats = [o.nll for o in outcomes if o.nll is not None]
    rate = sum(nats) / sum(o.tokens for o in outcomes)
    # exp(700) is close to the largest float; NaN fails this check too.
    if not 0 <= rate < 700:
        raise DataError(
            f"a likelihood of {rate} nats per token is not usable",
            hint="the model's weights are broken, e.g. NaN after training",
        )
    return math.exp(rate)


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        m.name: m
        for m in (
            Metric(
                name="accuracy",
                title="accuracy",
                meaning="The share of answers that are exactly right.",
                direction="higher",
                compute=_compute_accuracy,
                is_readable=_is_choice,
            ),
            Metric(
                name="macro_f1",
                title="macro-F1",
                meaning="How well each label is found; rare labels count as much as common ones.",
                direction="higher",
                compute=_compute_macro_f1,
                is_readable=_is_choice,
            ),
            Metric(
                name="mae",
                title="MAE",
                meaning="How far a predicted number is from the real one, on average.",
                direction="lower",
                compute=_compute_mae,
                is_readable=_is_number,
            ),
            Metric(
                name="rmse",
                title="RMSE",
                meaning="Like MAE, but large errors weigh more.",
                direction="lower",
                compute=_compute_rmse,
                is_readable=_is_number,
            ),
            Metric(
                name="rouge_1",
                title="ROUGE-1",
                meaning="How many words the answer shares with what the person really wrote.",
                direction="higher",
                compute=functools.partial(_compute_rouge, "rouge1"),
            ),
            Metric(
                name="rouge_l",
                title="ROUGE-L",
                meaning="How long a run of words, in order, it shares with what they really wrote.",
                direction="higher",
                compute=functools.partial(_compute_rouge, "rougeL"),
            ),
            Metric(
                name="perplexity",
                title="perplexity",
                meaning="How surprised the model is by each token that the person really wrote.",
                direction="lower",
                compute=_compute_perplexity,
                needs_likelihood=True,
            ),
        )
    }
)
"""All metrics by name."""
