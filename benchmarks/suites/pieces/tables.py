"""The tables of the pieces benchmark, declared one by one; from the raw numbers of a result.

A table is a function that yields its rows, with its title and columns in a decorator. The order in
this file is the order on the page.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median
from typing import Any

from kit.paired_scores import (
    TITLES,
    Scores,
    Table,
    compare_ways,
    compute_speedups,
    format_gain,
    format_mean,
    get_scores,
    list_headings,
    list_metrics,
)

NAMES = {
    "base": "base model, not personalized",
    "nearest adapter": "PEFT retrieval, nearest adapter",
    "average adapter": "PEFT retrieval, mean of 3",
    "pieces": "Per-Pcs, pieces by gates",
    "likely": "adapters by likelihood",
    "own": "OPPU (own training)",
    "from pieces": "OPPU started from pieces by gates",
    "from likely": "OPPU started from adapters by likelihood",
}
BY_LENGTH = ("pieces", "likely", "own", "from pieces", "from likely")
DASH = "–"


@dataclass(frozen=True)
class TaskData:
    """One task's raw numbers, and what the tables derive from them."""

    title: str
    raw: Mapping[str, Any]

    @property
    def scores(self) -> Scores:
        """Each person's scores, by method."""
        return self.raw["scores"]

    @property
    def most(self) -> int:
        """The longest history."""
        return self.raw["most"]

    @cached_property
    def metrics(self) -> list[str]:
        """The metrics to show."""
        return list_metrics(self.scores)

    @cached_property
    def words(self) -> dict[str, Any]:
        """The values that titles and columns may refer to."""
        means = [fmean(get_scores(self.scores, "base", metric)) for metric in self.metrics]
        growth, leaks = self.raw["growth"], self.raw["leaks"]
        return {
            "task": self.title,
            "most": self.most,
            "few": self.raw["few"],
            "base_scores": ", ".join(f"{mean:.3f}" for mean in means),
            "items": growth[0]["items"] if growth else 0,
            "leaking": leaks[0]["people"] if leaks else 0,
        }

    def find_longest(self, method: str) -> str:
        """The scores of a method with the longest history that it was measured with."""
        lengths = range(self.most, 0, -1)
        return next(f"{method} {n}" for n in lengths if f"{method} {n}" in self.scores)

    def format_scores(self, name: str, other: str) -> list[str]:
        """All metrics of a method, and its gain over another in each; dashes for itself."""
        means = [format_mean(self.scores, name, metric) for metric in self.metrics]
        return means + (
            [DASH] * len(means) if name == other else self.format_gains(name, other, self.metrics)
        )

    def format_gains(self, name: str, other: str, metrics: Sequence[str]) -> list[str]:
        """The gain of a method over another, in each metric."""
        return [format_gain(compare_ways(self.scores, name, other, m)) for m in metrics]


Rows = Callable[[TaskData], Iterator[list[str]]]


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """A table of one task; see ``declare_table``."""

    title: str
    columns: Sequence[str]
    rows: Rows
    is_wanted: Callable[[TaskData], bool]

    def build(self, data: TaskData) -> Table:
        """Return the table as JSON data."""
        # Expand the columns that stand for several.
        columns: list[str] = []
        headings = list_headings(data.scores)
        for column in self.columns:
            for heading in headings if "{metric}" in column else headings[:1]:
                text = column.replace("{metric}", heading).replace("{first metric}", headings[0])
                ways = [NAMES[way] for way in BY_LENGTH] if "{method}" in text else [""]
                columns += [text.replace("{method}", way) for way in ways]
        title, rows = self.title.format(**data.words), list(self.rows(data))
        return {"title": title, "columns": columns, "rows": rows}


TABLES: list[TableSpec] = []


def declare_table(
    title: str, columns: str, *, is_wanted: Callable[[TaskData], bool] = lambda data: True
) -> Callable[[Rows], Rows]:
    """Add the table whose rows the decorated function yields to ``TABLES``.

    The title may refer to ``TaskData.words``. Vertical bars separate the columns. A column with
    ``{metric}`` stands for one column per metric, ``{first metric}`` for the first metric, and
    ``{method}`` for one column per metric and method of ``BY_LENGTH``.
    """

    def add_table(rows: Rows) -> Rows:
        spec = TableSpec(title=title, columns=columns.split(" | "), rows=rows, is_wanted=is_wanted)
        TABLES.append(spec)
        return rows

    return add_table


def iter_tables(raw: Mapping[str, Any]) -> Iterator[Table]:
    """All tables of the first task, then those of the next one."""
    for task, numbers in raw.items():
        data = TaskData(TITLES.get(task, task), numbers)
        yield from (spec.build(data) for spec in TABLES if spec.is_wanted(data))


def format_way(name: str) -> str:
    """The title of a method as it is named in the raw scores and timings.

    For example, "pieces 20" gives "pieces, last 20 items" and "likely, as it is" gives "by
    likelihood, default settings".
    """
    name = name.replace("as it is", "default settings")
    name = name.replace("pieces, alone", "pieces, one person at a time")
    name = re.sub(r"^(pieces|likely) (\d+)$", r"\1, last \2 items", name)
    return re.sub(r"^likely\b", "by likelihood", name)


@declare_table("{task}: people", "role | people")
def iter_people_rows(data: TaskData) -> Iterator[list[str]]:
    """The number of people in each role, in alphabetical order."""
    for role, number in sorted(data.raw["people"].items()):
        yield [role, f"{number:,}"]


@declare_table(
    "{task}: methods, with the last {most} items of each target user",
    "method | {metric} | gain over the base, {metric} | "
    "gain of pieces by gates over it, {first metric} | bytes per person",
)
def iter_method_rows(data: TaskData) -> Iterator[list[str]]:
    """All methods, each with the longest history that it was measured with."""
    pieces = f"pieces {data.most}"
    # Some methods were not measured with the longest history; their titles say so.
    for key, title in NAMES.items():
        found = key if key in data.scores else data.find_longest(key)
        if key not in data.scores and found != f"{key} {data.most}":
            title = f"{title} ({found.split()[-1]} items)"
        stored = data.raw["bytes"]
        yield [
            title,
            *data.format_scores(found, "base"),
            *([DASH] if found == pieces else data.format_gains(pieces, found, data.metrics[:1])),
            f"{stored[key]:,.0f}" if key in stored else DASH,
        ]


@declare_table(
    "{task}: by number of the target user's last items (base: {base_scores})",
    "items | {method}, {metric}",
)
def iter_length_rows(data: TaskData) -> Iterator[list[str]]:
    """The mean of each method at each length of history: shows where pieces beat own training."""
    for length in data.raw["lengths"]:
        names = [(f"{way} {length}", metric) for metric in data.metrics for way in BY_LENGTH]
        yield [
            str(length),
            *(
                f"{fmean(get_scores(data.scores, name, metric)):.3f}"
                if name in data.scores
                else DASH
                for name, metric in names
            ),
        ]


@declare_table("{task}: gain over own training on the same items", "items | method | {metric}")
def iter_own_gain_rows(data: TaskData) -> Iterator[list[str]]:
    """The gain over own training on the same items, paired by person."""
    for way in (way for way in BY_LENGTH if way != "own"):
        for length in data.raw["lengths"]:
            if f"{way} {length}" in data.scores:
                gains = data.format_gains(f"{way} {length}", f"own {length}", data.metrics)
                yield [str(length), NAMES[way], *gains]


@declare_table(
    "{task}: loss by steps of personal training, {most} items",
    "steps | from a new adapter, nats | from pieces, nats | gain",
    is_wanted=lambda data: f"from pieces {data.most}" in data.scores,
)
def iter_epoch_rows(data: TaskData) -> Iterator[list[str]]:
    """Held-out loss by initial adapter and number of steps."""
    most, epochs, steps = data.most, data.raw["epochs"], data.raw["steps"]
    # Three numbers of steps: none, one epoch, all epochs.
    fresh = ["base", f"own {most}, 1 epoch", f"own {most}"]
    pieces = [f"pieces {most}", f"from pieces {most}", f"from pieces {most}, {epochs} epochs"]
    counts = [f"{n}" for n in (0, steps, epochs * steps)]
    # The same number of steps from both; at last fewer steps from pieces.
    lines = [
        *zip(counts, fresh, pieces, strict=True),
        (f"{steps} from pieces, {epochs * steps} from a new adapter", fresh[2], pieces[1]),
    ]
    for count, a, b in lines:
        means = [format_mean(data.scores, name, "nats") for name in (a, b)]
        yield [count, *means, *data.format_gains(b, a, ["nats"])]


@declare_table(
    "{task}: assembled from the last items only (`recent_k`)",
    "method | items | {metric} | gain over the longest history, {metric} | "
    "faster than exact training",
)
def iter_recent_rows(data: TaskData) -> Iterator[list[str]]:
    """Assembling from the last items only, compared with the longest history."""
    timed = {t["what"] for t in data.raw["timed"]}
    for way in ("pieces", "likely"):
        longest = data.find_longest(way)
        for count in sorted({*data.raw["recent"], *data.raw["lengths"]}):
            name = f"{way} {count}"
            if name in data.scores:
                # The whole history is timed under the name of the method alone.
                what, speed = way if name == f"pieces {data.most}" else name, DASH
                if what in timed:
                    speed = f"{median(compute_speedups(data.raw, 'exact training', what)):.1f} x"
                yield [NAMES[way], str(count), *data.format_scores(name, longest), speed]


@declare_table(
    "{task}: one setting changed at a time, pieces from the last {few} items",
    "changed | {metric} | gain over the default settings, {metric}",
)
def iter_tried_rows(data: TaskData) -> Iterator[list[str]]:
    """One setting changed at a time."""
    for name in data.raw["tried"]:
        # Pieces by gates and by likelihood have separate defaults.
        default = "likely, as it is" if "likely" in name else "as it is"
        yield [format_way(name), *data.format_scores(name, default)]


@declare_table(
    "{task}: cost per person, {most} items, on the same people",
    "method | seconds | times faster | GFLOP | times fewer",
)
def iter_cost_rows(data: TaskData) -> Iterator[list[str]]:
    """Seconds and operations per person, and the ratio of exact training to them."""
    timed = data.raw["timed"]
    # Ratios are taken within a group of people, then their median over groups.
    for what in dict.fromkeys(t["what"] for t in timed):
        own = [t for t in timed if t["what"] == what]
        faster = compute_speedups(data.raw, "exact training", what)
        fewer = compute_speedups(data.raw, "exact training", what, "operations")
        yield [
            format_way(what),
            f"{fmean(t['seconds'] for t in own):.2f}",
            f"{median(faster):.1f} ({min(faster):.1f}–{max(faster):.1f})",
            f"{fmean(t['operations'] for t in own) / 1e9:,.0f}",
            f"{median(fewer):.1f}",
        ]


@declare_table(
    "{task}: one target user with {items} items, by number of sharers (random gates)",
    "sharers | seconds | first time, s | opening within the first time, s | "
    "by likelihood, s | kB of gates per sharer",
    is_wanted=lambda data: bool(data.raw["growth"]),
)
def iter_growth_rows(data: TaskData) -> Iterator[list[str]]:
    """Times and sizes by number of sharers in the pool."""
    cells = ("sharers:,", "seconds:.2f", "first:.2f", "opened:.3f", "likely:.2f")
    for row in data.raw["growth"]:
        yield [*(f"{{{cell}}}".format(**row) for cell in cells), f"{row['gate_bytes'] / 1e3:,.0f}"]


@declare_table(
    "{task}: leakage of {leaking} sharers",
    "artifact | AUC (held-in above held-out) | two-sided | by chance | refused | "
    "loss held-in / held-out",
    is_wanted=lambda data: bool(data.raw["leaks"]),
)
def iter_leak_rows(data: TaskData) -> Iterator[list[str]]:
    """The result of the membership attack on each artifact."""
    for row in data.raw["leaks"]:
        if row["auc"]:
            yield [
                row["artifact"],
                f"{fmean(row['auc']):.2f} ({row['interval'][0]:.2f}–{row['interval'][1]:.2f})",
                f"{row['two_sided']:.2f}",
                f"{row['by_chance']:.2f}",
                f"{row['leaks']} of {row['people']}",
                f"{row['loss_in']:.3f} / {row['loss_out']:.3f}",
            ]


@declare_table(
    "{task}: gate training by steps and rate, on people with no other role",
    "setting | nats",
    is_wanted=lambda data: bool(data.raw["develop"]),
)
def iter_tuning_rows(data: TaskData) -> Iterator[list[str]]:
    """The loss of each setting of gate training."""
    return ([name, f"{nats:.4f}"] for name, nats in data.raw["develop"].items())
