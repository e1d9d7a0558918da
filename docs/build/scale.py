"""Writes the figures of ``docs/scale.md`` and their picture from ``docs/results/scale*.json``.

The page is written by hand, except for the part between two markers: measured rates, and an
extrapolation to one million people. Prices are assumptions, which the page states. ``--check`` only
compares.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from idiolect.errors import DataError, IdiolectError
from idiolect.storage.files import write_atomic

ROOT = Path(__file__).resolve().parents[2]
BEGIN_MARK = "<!-- figures: written by `make docs` from docs/results/scale*.json; do not edit -->"
END_MARK = "<!-- end of figures -->"
PICTURE = "scale.png"

MILLION = 1_000_000
PEOPLE_PER_SHARD = 1_000
MACHINES = 100
CORE_HOUR_DOLLARS = 0.05
"""Dollars for one hour of a CPU core, about the price of general-purpose cloud machines."""
GPU_HOUR_DOLLARS = 3.00
"""Dollars for one hour of a data-center GPU, rented by the hour."""
GB_MONTH_DOLLARS = 0.023
"""Dollars for one gigabyte in object storage for a month."""


@dataclass(frozen=True, kw_only=True)
class ScaleResult:
    """One result of ``benchmarks/scale.py``: the machine, and its runs by number of people."""

    machine: str
    cores: int
    gpu: bool
    last: int
    changed: Sequence[str]
    """Settings that differ from the defaults, as KEY=VALUE."""
    runs: Sequence[Mapping[str, Any]]

    @staticmethod
    def read_result(path: Path) -> ScaleResult:
        """Read a result; raises DataError if ``benchmarks/scale.py`` did not write the file."""
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            found = data["environment"]["hardware"]
            gpu = found.get("accelerator")
            machine = gpu or f"{found['cores']} cores of {found['cpu']}"
            return ScaleResult(
                machine=machine,
                cores=int(found["cores"]),
                gpu=bool(gpu),
                last=int(data["last"]),
                changed=re.findall(r"--set (\S+)", data.get("command", "")),
                runs=sorted(data["runs"], key=lambda run: run["people"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"not a result of benchmarks/scale.py: {error!r}", file=path) from error


def format_figures(results: Sequence[ScaleResult]) -> str:
    """Return the Markdown of the part between the markers."""
    if not results:
        return "Nothing has been measured yet: `python benchmarks/scale.py --json FILE`."
    blocks = [f"![Peak memory and people per hour over the number of people](images/{PICTURE})"]
    for measured in results:
        blocks += _iter_section(measured)
    blocks.append(
        f"Assumed prices: {_format_money(CORE_HOUR_DOLLARS)} for a core-hour, "
        f"{_format_money(GPU_HOUR_DOLLARS)} for a GPU-hour, "
        f"${GB_MONTH_DOLLARS} for a gigabyte-month of object storage. Time is proportional to "
        "the amount "
        "of text: twice the tokens take twice the hours. The time to open a store is extrapolated "
        f"linearly; it falls to 1/{MILLION // PEOPLE_PER_SHARD} if a process serves one shard only."
    )
    return "\n\n".join(blocks)


def _format_settings(measured: ScaleResult) -> str:
    if not measured.changed:
        return "settings"
    return " ".join(f"`--set {one}`" for one in measured.changed)


def _iter_section(measured: ScaleResult) -> Iterator[str]:
    run = measured.runs[-1]
    yield f"### On {measured.machine}"
    yield (
        f"{run['people']:,} people who rate films, with the last {measured.last} ratings of each "
        f"({run['tokens'] / max(1, run['trained']):,.0f} tokens per person over all epochs), took "
        f"{run['seconds'] / 60:,.0f} minutes with the default base and "
        f"{_format_settings(measured)}, "
        "including start and loading. Extrapolated to one million people:"
    )
    rows = [
        f"| {what} | {rate} | {total} |" for what, rate, total in compute_extrapolation(measured)
    ]
    yield "\n".join(
        ["| | measured or assumed | one million people |", "| --- | --- | --- |", *rows]
    )


def compute_extrapolation(measured: ScaleResult) -> list[tuple[str, str, str]]:
    """Return rows of (quantity, rate it is computed from, value for one million people)."""
    run = measured.runs[-1]
    rate = 3600 * run["trained"] / run["seconds"]
    hours = MILLION / rate
    # GPU machines are priced per GPU, other machines per core.
    paid, unit, price = (
        (hours, "GPU-hours", GPU_HOUR_DOLLARS)
        if measured.gpu
        else (hours * measured.cores, "core-hours", CORE_HOUR_DOLLARS)
    )
    each, shards = run["store_bytes"] / run["people"], MILLION // PEOPLE_PER_SHARD
    kept = each * MILLION / 1e9
    # The time to open a store is proportional to the number of people.
    opening = run["open_seconds"] / run["people"] * MILLION
    return [
        ("one such machine", f"{rate:,.0f} people/hour", f"{hours:,.0f} hours"),
        (unit, "1 GPU" if measured.gpu else f"{measured.cores} cores", f"{paid:,.0f} {unit}"),
        ("cost of training", f"{_format_money(price)} per {unit[:-1]}", f"${paid * price:,.0f}"),
        (
            f"a shard of {PEOPLE_PER_SHARD:,}",
            "",
            f"{shards:,} shards of {hours / shards:.1f} hours",
        ),
        (f"on {MACHINES} such machines", "", f"{hours / MACHINES:,.1f} hours"),
        (
            "memory per machine",
            "peak, for any number of people",
            f"{run['peak_bytes'] / 1e9:.1f} GB",
        ),
        ("adapters on disk", f"{each / 1e6:.2f} MB per person", f"{kept / 1e3:,.2f} TB"),
        (
            "storage cost",
            f"${GB_MONTH_DOLLARS} per GB and month",
            f"${kept * GB_MONTH_DOLLARS:,.0f} per month",
        ),
        (
            "opening all as one store",
            f"{1e3 * opening / MILLION:.2f} ms per person",
            _format_time(opening),
        ),
    ]


def _format_money(dollars: float) -> str:
    return f"${dollars:.2f}"


def _format_time(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def draw_picture(measured: ScaleResult) -> bytes:
    """Draw peak memory and people per hour over the number of people, as PNG."""
    figure = Figure(figsize=(7.6, 2.9), layout="constrained")
    FigureCanvasAgg(figure)
    people = [run["people"] for run in measured.runs]
    left, right = figure.subplots(1, 2)
    _draw_panel(left, people, [run["peak_bytes"] / 1e9 for run in measured.runs], "peak memory, GB")
    speeds = [3600 * run["trained"] / run["seconds"] for run in measured.runs]
    _draw_panel(right, people, speeds, "people per hour")
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130, metadata={"Software": None})
    return out.getvalue()


def _draw_panel(axes: Axes, people: Sequence[int], values: Sequence[float], what: str) -> None:
    axes.plot(people, values, marker="o", color="#1d5fc4")
    axes.set_xscale("log")
    axes.set_xticks(people, [f"{count:,}" for count in people], minor=False)
    axes.minorticks_off()
    axes.set_ylim(0, 1.25 * max(values))
    axes.set_xlabel("people")
    axes.set_title(what, fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dcdee3")


def replace_between_marks(page: Path, text: str) -> str:
    """Return the page with ``text`` between its markers; raises DataError if it has none."""
    whole = page.read_text(encoding="utf-8")
    before, begin, rest = whole.partition(BEGIN_MARK)
    _, end, after = rest.partition(END_MARK)
    if not begin or not end:
        raise DataError(f"has no {BEGIN_MARK!r} before {END_MARK!r}", file=page)
    return f"{before}{BEGIN_MARK}\n\n{text}\n\n{END_MARK}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if the page is written or up to date, 1 if not or if a result is broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 if the page is out of date"
    )
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="the documentation folder")
    chosen = parser.parse_args(arguments)
    page = chosen.docs / "scale.md"
    try:
        results = [
            ScaleResult.read_result(p)
            for p in sorted((chosen.docs / "results").glob("scale*.json"))
        ]
        text = replace_between_marks(page, format_figures(results))
        # The picture shows the first result; --check compares the text only.
        if not chosen.check:
            write_atomic(page, text)
            if results:
                (chosen.docs / "images").mkdir(exist_ok=True)
                write_atomic(chosen.docs / "images" / PICTURE, draw_picture(results[0]))
            return 0
    except IdiolectError as error:
        print(error, file=sys.stderr)
        return 1
    if page.read_text(encoding="utf-8") != text:
        print(f"{page} does not match its results; run `make docs`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
