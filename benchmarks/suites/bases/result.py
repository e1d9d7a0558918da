"""The result of the benchmark of bases: targets, tables and notes from the raw numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from idiolect.stats.significance import bootstrap_mean_interval
from suites.audit.people import SEED
from suites.bases.measure import OLD_COMMIT

Raw = Mapping[str, Any]


def build_targets(raw: Raw) -> list[dict[str, Any]]:
    """Return the targets with what was reached."""
    proof, speed = median(raw["proof"]["times"]), compute_speed(raw["speed"])
    plain, nf4 = raw["quantized"]["none"], raw["quantized"]["nf4"]
    linear, whole = (nf4[f"{part}_bytes"] / plain[f"{part}_bytes"] for part in ("linear", "whole"))
    change = fmean(compute_loss_changes(raw, "nf4"))
    return [
        make_target("Time of the proof, embedded base", "under 3 s", f"{proof:.1f} s", proof < 3),
        make_target(
            "Memory at nf4, compared with bf16",
            "at most 0.35 x",
            f"{linear:.3f} x for the linear layers, {whole:.3f} x with the embeddings",
            whole <= 0.35,
        ),
        make_target(
            "Held-out loss of adapters at nf4, compared with bf16",
            "at most 1% more",
            f"{change:+.2%}",
            change <= 0.01,
        ),
        make_target(
            f"Speed of training on the embedded base, compared with {OLD_COMMIT}",
            "at least 0.98 x",
            f"{speed:.3f} x",
            speed >= 0.98,
        ),
    ]


def make_target(name: str, target: str, reached: str, met: bool) -> dict[str, Any]:
    """Return a target as the page shows it."""
    return {"name": name, "target": target, "reached": reached, "met": met}


def compute_speed(raw: Raw) -> float:
    """Return the median speed of this version in relation to the old one, of runs in turn."""
    times = raw["times"]
    return median(old / now for now, old in zip(times["now"], times["old"], strict=True))


def compute_loss_changes(raw: Raw, kind: str) -> Sequence[float]:
    """Return the relative change of each person's held-out loss against bf16."""
    before, after = (raw["quantized"][one]["adapted"] for one in ("none", kind))
    return [after[person] / loss - 1 for person, loss in before.items()]


def build_tables(raw: Raw) -> Iterator[dict[str, Any]]:
    """Yield the tables: quantized bases, and the plain way beside the fast ones."""
    plain = raw["quantized"]["none"]
    rows: list[list[Any]] = []
    for kind, found in raw["quantized"].items():
        changes = compute_loss_changes(raw, kind)
        low, high = bootstrap_mean_interval(changes, seed=SEED)
        rows.append(
            [
                "bf16" if kind == "none" else kind,
                found["linear_bytes"] / 1e6,
                found["linear_bytes"] / plain["linear_bytes"],
                found["whole_bytes"] / 1e6,
                found["whole_bytes"] / plain["whole_bytes"],
                fmean(found["bare"].values()),
                fmean(found["adapted"].values()),
                f"{fmean(changes):+.2%} [{low:+.2%}, {high:+.2%}]",
                found["training_seconds"],
            ]
        )
    yield {
        "title": "The embedded base quantized",
        "columns": [
            *("weights", "linear layers, MB", "x bf16", "whole, MB", "x bf16 "),
            *("loss of the base", "loss of adapters", "change [95%]", "training, s"),
        ],
        "rows": rows,
    }
    yield {
        "title": "The plain way beside the fast ways, small random models",
        "columns": ["family", "fast ways, s", "plain way, s", "plain / fast", "off"],
        "rows": [
            [
                name,
                median(found["times"]["fast"]),
                median(found["times"]["plain"]),
                median(
                    slow / fast
                    for fast, slow in zip(
                        found["times"]["fast"], found["times"]["plain"], strict=True
                    )
                ),
                ", ".join(found["off"]) or "none",
            ]
            for name, found in raw["families"].items()
        ],
    }


NOTES = (
    "Losses are means over people who chat, in nats per token of held-out replies; each person's "
    "adapter was trained with the defaults on that base. The interval is a bootstrap over people.",
    "Quantization leaves the embeddings as they are: a fifth of the embedded base, a smaller part "
    "of larger ones. Bytes count each tensor once, with the sizes of blocks and rows.",
    "Times are compared within one run only. Versions and ways take turns.",
)
