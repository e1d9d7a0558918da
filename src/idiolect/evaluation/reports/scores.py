"""Computes the scores of each method and the paired tests between methods, as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from idiolect.evaluation.reports import text as words
from idiolect.evaluation.results import MethodRun
from idiolect.stats.metrics import Metric, ScoredAnswer
from idiolect.stats.significance import adjust_holm, bootstrap_mean_interval, run_paired_test

PERSON_BASELINES = ("person-mean", "person-median")
"""Baselines that need no model; a personal model must beat them."""


def group_by_person(run: MethodRun, choices: tuple[str, ...]) -> dict[str, list[ScoredAnswer]]:
    """Return each person's scored answers; people are sorted by id."""
    people: dict[str, list[ScoredAnswer]] = {
        person: [] for person in sorted({a.person for a in run.answers})
    }
    for answer in run.answers:
        people[answer.person].append(
            ScoredAnswer(
                prediction=answer.text,
                gold=answer.gold,
                nll=answer.gold_nll,
                tokens=answer.gold_tokens,
                choices=choices,
            )
        )
    return people


def score_method(
    run: MethodRun,
    people: Mapping[str, Sequence[ScoredAnswer]],
    metrics: Sequence[Metric],
    *,
    seed: int,
) -> dict[str, Any]:
    """Return the report's entry of one method: its scores on each metric, and its costs.

    ``people``: the answers of ``run`` by person. ``seed``: of the bootstrap.
    """
    return {
        "method": run.method,
        "scores": {m.name: _score_people(m, people, seed=seed) for m in metrics},
        "train_seconds": run.train_seconds,
        "predict_seconds": run.predict_seconds,
        "train_tokens": run.train_tokens,
        "bytes_per_person": run.bytes_per_person,
        "served_by_base": sorted(people.keys() & set(run.served_by_base)),
    }


def _score_people(
    m: Metric, people: Mapping[str, Sequence[ScoredAnswer]], *, seed: int
) -> dict[str, Any] | None:
    """Return the mean score over people, its bootstrap interval, and the score over all answers.

    ``None`` if the metric needs likelihoods and the method has none.
    """
    # Each person has the same weight in ``score``; each answer in ``pooled``.
    everything = [outcome for outcomes in people.values() for outcome in outcomes]
    pooled, each = m.score(everything), m.score_people(people)
    if pooled is None or each is None:
        return None
    return {
        "score": fmean(each.values()),
        "interval": bootstrap_mean_interval(list(each.values()), seed=seed),
        "pooled": pooled,
        "unreadable": m.count_unreadable(everything),
        "per_person": dict(each),
    }


def run_paired_tests(
    methods: Sequence[Mapping[str, Any]], reference: str, metrics: Sequence[Metric], *, seed: int
) -> list[dict[str, Any]]:
    """Return the paired tests of all metrics; people are the pairs.

    ``methods``: as returned by ``score_method``. The p-values of one metric are adjusted together
    (Holm).
    """
    scores = {method["method"]: method["scores"] for method in methods}
    tests: list[dict[str, Any]] = []
    for m in metrics:
        family: list[dict[str, Any]] = []
        # A pair without likelihoods has no score on this metric, so it is not tested.
        for name, against in _iter_pairs([*scores], reference):
            one, other = scores[name][m.name], scores[against][m.name]
            if one and other:
                # Both runs have the same people; pair their scores by id.
                people = one["per_person"]
                result = run_paired_test(
                    [*people.values()],
                    [other["per_person"][person] for person in people],
                    direction=m.direction,
                    seed=seed,
                )
                family.append(
                    {"metric": m.name, "method": name, "against": against, **asdict(result)}
                )
        adjusted = adjust_holm([test["p"] for test in family])
        tests += [{**test, "p_holm": p} for test, p in zip(family, adjusted, strict=True)]
    return tests


def _iter_pairs(names: Sequence[str], reference: str) -> Iterator[tuple[str, str]]:
    """Yield the pairs (method, against) to test.

    First each method against the reference; then each personal method against what it must also
    beat: the person's own mean and median, the same method without adapter, and without the gate.
    """
    yield from ((name, reference) for name in names if name != reference)
    for name in filter(words.is_personal, names):
        rivals = [
            *PERSON_BASELINES,
            words.strip_gate_mark(name).removeprefix("oppu").removeprefix("+"),
        ]
        if words.is_gated(name):
            rivals.append(words.strip_gate_mark(name))
        yield from ((name, rival) for rival in rivals if rival in names and rival != reference)
