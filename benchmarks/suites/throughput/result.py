"""What was measured as the JSON that pages are made from: tables, targets, raw numbers."""

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
    "times peer B",
    "times peer A",
    "target tokens/s",
    "tokens/s",
    "GFLOP/s",
    "of the peak",
    "peak MiB",
    "held-out loss",
    "of all people",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ThroughputOutcome:
    """A whole run: what was measured, on what, on which machine."""

    methods: Sequence[Contender]
    works: Sequence[TrainingWork]
    measured: Measurement
    untrained: Mapping[str, float]
    """By task: the base's own held-out loss."""
    epochs: int
    model: Any
    """The bare transformers model, to count its work."""
    peaks: Sequence[MatmulPeak]

    @property
    def peak_rate(self) -> float:
        """The best rate of any matrix product, operations a second."""
        return max(peak.rate for peak in self.peaks)


def iter_tables(run: ThroughputOutcome) -> Iterator[dict[str, Any]]:
    """One of each task, then what the methods are, and the machine's matrix products."""
    for work in run.works:
        people, items = len(work.jobs), len(work.examples)
        title = TITLES.get(work.task, work.task)
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
        "columns": ["method", "mathematics", "what it is"],
        "rows": [[m.name, {"peer": "exact"}.get(m.kind, m.kind), m.what] for m in run.methods],
    }
    yield {
        "title": "Matrix products of this machine, each the best of many",
        "columns": ["product", "GFLOP/s"],
        "rows": [[peak.what, f"{peak.rate / 1e9:,.0f}"] for peak in run.peaks],
    }


def build_task_row(run: ThroughputOutcome, work: TrainingWork, method: Contender) -> list[str]:
    """A method's line: medians over the repetitions; ratios with their smallest and largest."""
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
    """Median and range: ``2.21 (2.15-2.30)``."""
    if not values:
        return "–"
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def collect_raw(run: ThroughputOutcome) -> dict[str, Any]:
    """The numbers themselves."""
    losses = [
        {"task": task, "method": method, "by_person": by_person}
        for (task, method), by_person in run.measured.by_person.items()
    ]
    return {"timings": [asdict(t) for t in run.measured.timings], "losses": losses}


def build_notes(*, repeats: int, mlora: bool, peer_people: Mapping[str, int]) -> list[str]:
    """How to read the tables."""
    few = ", ".join(f"{TITLES[task]} {n}" for task, n in peer_people.items()) or "all"
    out = [
        f"Every method trains the same people on the same items with the same kind of adapter, "
        f"schedule, clipping and batch, {repeats} times over in alternating order; peers and exact "
        "rows at the same rate, the best one for them in so few steps; ten layers alone have twice "
        "that, on film ratings without a mean to start from four times. A ratio compares two "
        "methods of one repetition: its median, and the smallest and largest.",
        "GFLOP/s counts four operations for each number of the decoder's matrices and token, and "
        "of the output head and target token: what exact training cannot do without. Padding, "
        "recomputation, logits of prompts, attention scores and adapters do not count. Where the "
        "mathematics is another, the rate is what exact training would need to be as fast, and "
        "has no share of the peak.",
        "Peak memory is that of a method's whole process while it trains, base and libraries "
        "included, loading excluded; our rows share a process, and with it the packed matrices "
        "(0.4 GB). Losses are nats per target token of each person's last items, "
        "which nobody trained on: the mean over the people whom all methods trained, and over all.",
        "Peers train one person after another, so each trains the first few of the people only "
        f"({few}), and its time is scaled up to the tokens of all; so do the rows that show single "
        "techniques.",
    ]
    out.append(
        "Peer C ran on film ratings alone, for time, and draws its own initial adapters (peers A "
        "and B start from ours). Its dispatcher cannot leave prompts and padding out of the loss "
        "and always recomputes; so its batches come from the benchmark, without recomputation."
        if mlora
        else "Peer C is not in this run: mLoRA 0.5.2 needs torch below 2.4, so an environment of "
        "its own, whose Python is named with --mlora."
    )
    return out
