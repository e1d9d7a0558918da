"""The benchmark's result: targets, notes and tables from the raw numbers."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from idiolect.evaluation.environment import describe_hardware, list_versions
from idiolect.training.private.accounting import compute_multiplier
from idiolect.training.private.budget import make_record_guarantee
from kit.paired_scores import BOOTSTRAP_SEED, compare_ways, format_gain, format_mean
from suites.private.settings import PRIVATE, SEED, TIMED_PEOPLE, TIMED_ROUNDS, Sizes

MIN_KEPT, MAX_TIME, MAX_AUC = 0.7, 1.5, 0.55
_RESAMPLES = 10_000
Raw = Mapping[str, Any]


def build_result(raw: Raw, name: str, command: str, sizes: Sizes) -> dict[str, Any]:
    """Return the content of ``docs/results/private.json``."""
    return {
        "name": name,
        "page": "private",
        "what": "Private training on film ratings: what is kept of the gain, and what attacks find",
        "command": command,
        "environment": {"hardware": describe_hardware(), "versions": list_versions()},
        "seeds": [SEED],
        "targets": _build_targets(raw, sizes),
        "notes": _list_notes(raw, sizes),
        "tables": [_build_methods(raw, sizes), _build_canaries(raw), _build_meanings(sizes)],
        "raw": raw,
    }


def list_ways(raw: Raw, sizes: Sizes) -> dict[str, dict[str, Any]]:
    """Return all methods by title; several draws of noise are averaged per person."""
    ways = {
        "base, not personalized": raw["base"],
        "default training, not private": raw["default"],
        "mean of the donors, no training": raw["mean"],
        "along the directions, no noise (not private)": raw["no noise"],
    }
    for epsilon in sorted(sizes.epsilons, reverse=True):
        ways[f"private, epsilon {epsilon:g}"] = average_draws(raw[f"epsilon {epsilon:g}"])
    return ways


def average_draws(draws: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean over trainings of the same people, person by person."""

    def average(columns: Sequence[Sequence[float]]) -> list[float]:
        return [fmean(column) for column in zip(*columns, strict=True)]

    return {
        "nats": average([draw["nats"] for draw in draws]),
        "mae": average([draw["mae"] for draw in draws]),
        "auc": {name: average([d["auc"][name] for d in draws]) for name in draws[0]["auc"]},
    }


def compute_kept_gain(
    raw: Raw, way: Mapping[str, Any], metric: str
) -> tuple[float, tuple[float, float]]:
    """Return the gain of a way over the base, as a share of default training's, with a 95%
    bootstrap interval over people."""
    base, default, ours = raw["base"][metric], raw["default"][metric], way[metric]
    draw, count = random.Random(BOOTSTRAP_SEED), len(base)

    def measure(people: Sequence[int]) -> float:
        whole = sum(base[p] - default[p] for p in people)
        return sum(base[p] - ours[p] for p in people) / whole if whole else float("nan")

    shares = sorted(measure(draw.choices(range(count), k=count)) for _ in range(_RESAMPLES))
    interval = shares[round(0.025 * _RESAMPLES)], shares[round(0.975 * _RESAMPLES) - 1]
    return measure(range(count)), interval


def format_share(found: tuple[float, tuple[float, float]]) -> str:
    """Return a share with its interval, in percent."""
    share, (low, high) = found
    return f"{100 * share:.0f}% ({100 * low:.0f} to {100 * high:.0f})"


def _build_targets(raw: Raw, sizes: Sizes) -> list[dict[str, Any]]:
    first = f"epsilon {sizes.epsilons[0]:g}"
    ours = average_draws(raw[first])
    kept = compute_kept_gain(raw, ours, "nats")
    mean = compute_kept_gain(raw, raw["mean"], "nats")
    ratio = sum(raw["times"]["private"]) / sum(raw["times"]["default"])
    canaries = raw["canaries"]["private"]
    # The attacker takes the better reference.
    name, auc = max(ours["auc"].items(), key=lambda pair: fmean(pair[1]))
    low, high = _bootstrap_mean(auc)
    return [
        {
            "name": f"Gain of default training over the base that {first} keeps, in nats",
            "target": f"at least {100 * MIN_KEPT:.0f}%",
            "reached": f"{format_share(kept)}; the mean without any training: {format_share(mean)}",
            "met": kept[0] >= MIN_KEPT,
        },
        {
            "name": f"Training time at {first}, compared with default training",
            "target": f"at most {MAX_TIME:g} x",
            "reached": f"{ratio:.2f} x",
            "met": ratio <= MAX_TIME,
        },
        {
            "name": f"Canaries found at {first}, each planted {sizes.repeats} times",
            "target": "none",
            "reached": f"{canaries['found']} of {canaries['planted']} (default training: "
            f"{raw['canaries']['default']['found']})",
            "met": canaries["found"] == 0,
        },
        {
            "name": f"Membership AUC at {first}",
            "target": f"at most {MAX_AUC:g}",
            "reached": f"{fmean(auc):.3f} ({low:.3f} to {high:.3f}), calibrated by the {name}",
            "met": fmean(auc) <= MAX_AUC,
        },
    ]


def _bootstrap_mean(values: Sequence[float]) -> tuple[float, float]:
    draw = random.Random(BOOTSTRAP_SEED)
    means = sorted(fmean(draw.choices(values, k=len(values))) for _ in range(_RESAMPLES))
    return means[round(0.025 * _RESAMPLES)], means[round(0.975 * _RESAMPLES) - 1]


def _list_notes(raw: Raw, sizes: Sizes) -> list[str]:
    basis = raw["basis"]
    return [
        f"{sizes.people} people with {sizes.items} records each; their last {sizes.queries} items "
        f"are the queries. The basis is the mean of {basis['donors']} other people and "
        f"{basis['directions']} directions ({basis['refused']} more were refused by the leakage "
        "audit). The base is adapted on further people, and settings were chosen on others again.",
        f"Delta is {PRIVATE.delta:g}. Private training takes {PRIVATE.steps} steps over all "
        f"records, and clips each record's gradient at {PRIVATE.clip:g}. At the first epsilon, "
        f"each person is trained {sizes.draws} times with noise of its own, and the scores are "
        "averaged.",
        "The mean of other people's adapters is no merit of a person's own records. What these add "
        "is the gain over the mean.",
        f"Time is that of {TIMED_PEOPLE} people, trained {TIMED_ROUNDS} times both ways in turn. "
        "It does not include the basis, which is made once for all people. It includes loading the "
        "accountant.",
        "Membership: the loss of each record, calibrated by the base or by the mean, against items "
        "of the same time that were left out. At AUC 0.5 the attack cannot tell them apart.",
        "A canary is a sentence with six random digits. It is found if an attacker who asks its "
        "question 100 times would get its answer once, or if the likeliest answer is it. The "
        "guarantee is for one record: a sentence that occurs several times is protected less.",
        "Intervals are 95% bootstrap intervals over people; gains are paired, p is from a "
        "two-sided Wilcoxon test.",
    ]


def _build_methods(raw: Raw, sizes: Sizes) -> dict[str, Any]:
    ways = list_ways(raw, sizes)
    scores = {title: {"nats": w["nats"], "mae": w["mae"]} for title, w in ways.items()}
    base, _, mean, *_ = ways
    rows: list[list[str]] = []
    for title, way in ways.items():
        known = max(way.get("auc", {}).values(), key=fmean, default=None)
        rows.append(
            [
                title,
                format_mean(scores, title, "mae"),
                format_mean(scores, title, "nats"),
                "–" if title == base else format_gain(compare_ways(scores, title, base, "nats")),
                "–"
                if title in (base, mean)
                else format_gain(compare_ways(scores, title, mean, "nats")),
                "–" if title == base else format_share(compute_kept_gain(raw, way, "nats")),
                "–" if title == base else format_share(compute_kept_gain(raw, way, "mae")),
                f"{fmean(known):.3f}" if known else "–",
            ]
        )
    return {
        "title": "Methods on the same people and queries",
        "columns": [
            "method",
            "MAE",
            "nats",
            "gain over the base, nats",
            "gain over the mean, nats",
            "kept of the default's gain, nats",
            "the same, MAE",
            "membership AUC",
        ],
        "rows": rows,
    }


def _build_canaries(raw: Raw) -> dict[str, Any]:
    titles = {
        "base": "base",
        "default": "default training, not private",
        "private": "private, first epsilon",
    }
    rows: list[list[str]] = []
    for name, title in titles.items():
        found = raw["canaries"][name]
        bits, count = found["bits"], f"{found['found']} of {found['planted']}"
        rows.append([title, count, f"{fmean(bits):.1f}", f"{max(bits):.1f}"])
    return {
        "title": "Planted canaries (20 random bits)",
        "columns": ["method", "found", "mean exposure in bits", "largest"],
        "rows": rows,
    }


def _build_meanings(sizes: Sizes) -> dict[str, Any]:
    rows: list[list[str]] = []
    for epsilon in sorted(sizes.epsilons):
        config = type(PRIVATE)(epsilon=epsilon)
        guarantee = make_record_guarantee(config, sizes.items)
        multiplier = compute_multiplier(epsilon, config.delta, config.steps)
        rows.append([f"{epsilon:g}", f"{multiplier:.2f}", guarantee.sentence])
    return {
        "title": "What epsilon means",
        "columns": ["epsilon", "noise multiplier", "in words"],
        "rows": rows,
    }
