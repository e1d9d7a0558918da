"""The result of the throughput benchmark as JSON: tables, notes and raw numbers."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from suites.throughput.contenders import PEER_A, PEER_B, Contender
from suites.throughput.counted import MatmulPeak, count_operations
from suites.throughput.measure import Measurement
from suites.throughput.work import TrainingWork

TITLES = {"rating": "film ratings", "reply": "chat replies", "lamp-5": "scholarly titles"}
COLUMNS = (
    "method",
    "people/hour",
    "speedup over peer B",
    "speedup over peer A",
    "target tokens/s",
    "tokens/s",
    "GFLOP/s",
    "share of peak",
    "peak MiB",
    "held-out loss",
    "held-out loss, all people",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputOutcome:
    """The measurements of a whole run, and what they were made on."""

    methods: Sequence[Contender]
    works: Sequence[TrainingWork]
    measured: Measurement
    untrained: Mapping[str, float]
    """The base's held-out loss without adapters, by task."""
    epochs: int
    model: Any
    """The transformers model without adapters, to count operations."""
    peaks: Sequence[MatmulPeak]

    @property
    def peak_rate(self) -> float:
        """The best rate of any matrix product, in operations per second."""
        return max(peak.rate for peak in self.peaks)


def iter_tables(run: ThroughputOutcome) -> Iterator[dict[str, Any]]:
    """Yield a table per task, then the methods, and the machine's matrix products."""
    for work in run.works:
        people, items = len(work.jobs), len(work.examples)
        title = TITLES.get(work.task, work.task)
        # One row per method that ran on the task, and the base without adapter.
        yield {
            "title": f"{title[:1].upper()}{title[1:]}: {people} people, {items} items of "
            f"{work.token_count / items:.0f} tokens ({work.target_count / items:.0f} targets), "
            f"{run.epochs} epochs",
            "columns": list(COLUMNS),
            "rows": [
                *(
                    build_task_row(run, work, method)
                    for method in run.methods
                    if run.measured.select_timings(work.task, method.name)
                ),
                ["no adapter", *["–"] * 9, f"{run.untrained[work.task]:.3f}"],
            ],
        }
    yield {
        "title": "The methods",
        "columns": ["method", "mathematics", "description"],
        "rows": [[m.name, {"peer": "exact"}.get(m.kind, m.kind), m.what] for m in run.methods],
    }
    yield {
        "title": "Matrix products on this machine, best of several runs",
        "columns": ["product", "GFLOP/s"],
        "rows": [[peak.what, f"{peak.rate / 1e9:,.0f}"] for peak in run.peaks],
    }


def build_task_row(run: ThroughputOutcome, work: TrainingWork, method: Contender) -> list[str]:
    """Return a method's row: medians over repetitions, and speedups with their range."""
    timings = run.measured.select_timings(work.task, method.name)
    seconds = statistics.median(t.seconds for t in timings)
    rate = run.epochs * count_operations(run.model, work.token_count, work.target_count) / seconds
    other_mathematics = method.kind == "measured"
    return [
        method.name,
        f"{3600 * len(work.jobs) / seconds:,.0f}",
        format_ratio(run.measured.compute_ratios(work.task, method.name, PEER_B)),
        format_ratio(run.measured.compute_ratios(work.task, method.name, PEER_A)),
        f"{run.epochs * work.target_count / seconds:,.0f}",
        f"{run.epochs * work.token_count / seconds:,.0f}",
        f"{rate / 1e9:,.0f}",
        "–" if other_mathematics else f"{rate / run.peak_rate:.0%}",
        f"{max(t.peak_mib for t in timings):,.0f}",
        f"{run.measured.compute_common_loss(work.task, method.name):.3f}",
        "–"
        if method.kind == "peer" or method.people
        else f"{run.measured.compute_loss(work.task, method.name):.3f}",
    ]


def format_ratio(values: Sequence[float]) -> str:
    """Return median and range: ``2.21 (2.15–2.30)``; a dash without values."""
    if not values:
        return "–"
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def collect_raw(run: ThroughputOutcome) -> dict[str, Any]:
    """Return the raw numbers as JSON data."""
    losses = [
        {"task": task, "method": method, "by_person": by_person}
        for (task, method), by_person in run.measured.by_person.items()
    ]
    return {"timings": [asdict(t) for t in run.measured.timings], "losses": losses}


def build_notes(*, repeats: int, mlora: bool, peer_people: Mapping[str, int]) -> list[str]:
    """Return notes on how to read the tables."""
    few = ", ".join(f"{TITLES[task]} {n}" for task, n in peer_people.items()) or "all"
    # Conditions, rates, memory and losses, scaling of peers.
    out = [
        "All methods train the same people on the same items, with the same kind of adapter, "
        f"schedule, clipping and batch size, {repeats} times in alternating order. Peers and exact "
        "rows have the same learning rate, the best one for them in this small number of steps. "
        "Rows that adapt ten layers have twice that rate; on film ratings without a mean start, "
        "four times. A speedup compares two methods within one repetition: the median, with the "
        "smallest and largest in parentheses.",
        "GFLOP/s counts four operations per token and parameter of the decoder's matrices, and "
        "per target token and parameter of the output head: the minimum for exact training. "
        "Padding, recomputation, logits of prompts, attention scores and adapters do not count. "
        "For methods with other mathematics, it is the rate that exact training would need to be "
        "as fast, and there is no share of peak.",
        "Peak memory is that of the method's whole process during training, including base and "
        "libraries, but not loading. Our rows share a process, and with it the prepacked matrices "
        "(0.4 GB). Losses are nats per target token of each person's last items, which no method "
        "trains on: the mean over the people that all methods trained, and over all people.",
        "Peers train one person after another, so each trains only the first few people "
        f"({few}), and its time is scaled up to the tokens of all people. The same holds for the "
        "rows that show a single technique.",
    ]
    # Peer C is optional.
    out.append(
        "Peer C ran on film ratings only, to save time, and draws its own initial adapters (peers "
        "A and B start from ours). Its dispatcher includes prompts and padding in the loss and "
        "always recomputes activations; therefore it gets its batches from the benchmark and runs "
        "without recomputation."
        if mlora
        else "Peer C is not in this run: mLoRA 0.5.2 needs torch below 2.4 and so its own "
        "environment, whose Python is given with --mlora."
    )
    return out
