"""Runs each method on each task, several times in alternating order."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect.adapters.lora import LoraConfig
from idiolect.config import to_plain
from idiolect.models.base import Base
from idiolect.training.schedule import TrainConfig
from kit.subprocess import MethodProcess
from suites.throughput.contenders import Contender, order_methods
from suites.throughput.work import TrainingWork


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """One method on one task in one repetition."""

    task: str
    method: str
    repetition: int
    seconds: float
    peak_mib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """All timings and losses of a run."""

    timings: tuple[Timing, ...]
    by_person: dict[tuple[str, str], dict[str, float]]
    """By (task, method): each person's loss per held-out target token, in nats."""

    def compute_loss(self, task: str, method: str, people_of: str | None = None) -> float:
        """Return the mean over the people of the method, or over those of ``people_of``."""
        theirs = self.by_person[task, people_of or method]
        return statistics.fmean(self.by_person[task, method][p] for p in theirs)

    def compute_common_loss(self, task: str, method: str) -> float:
        """Return the mean over the people that all methods trained."""
        people = [set(v) for (t, _), v in self.by_person.items() if t == task]
        common = set.intersection(*people)
        return statistics.fmean(self.by_person[task, method][p] for p in sorted(common))

    def select_timings(self, task: str, method: str) -> tuple[Timing, ...]:
        """Return a method's timings on a task, by repetition."""
        return tuple(t for t in self.timings if (t.task, t.method) == (task, method))

    def compute_ratios(self, task: str, method: str, peer: str) -> tuple[float, ...]:
        """Return the peer's seconds divided by the method's, for each repetition with both."""
        theirs = {t.repetition: t.seconds for t in self.select_timings(task, peer)}
        mine = self.select_timings(task, method)
        return tuple(theirs[t.repetition] / t.seconds for t in mine if t.repetition in theirs)


def build_settings(
    base: Base,
    name: str,
    device: str,
    lora: LoraConfig,
    train: TrainConfig,
    works: Sequence[TrainingWork],
) -> dict[str, Any]:
    """Return the settings that each method's process reads, as JSON data."""
    return {
        "base": name,
        "folder": str(base.folder) if base.folder else None,
        "device": device,
        "lora": to_plain(lora),
        "train": to_plain(train),
        "work": [work.to_plain() for work in works],
    }


def measure_methods(
    methods: Sequence[Contender],
    settings: Sequence[dict[str, Any]],
    *,
    repeats: int,
    report: Callable[[str], None],
    peer_people: Mapping[str, int],
) -> Measurement:
    """Measure all methods on all tasks.

    ``peer_people`` gives the number of people that peers train, by task; their seconds are scaled
    up to the tokens of all people. Each peer runs in its own process, our rows share one, and only
    one process works at a time. Held-out losses are measured after the first repetition.

    Raises TrainingError if a process ends.
    """
    timings: list[Timing] = []
    losses: dict[tuple[str, str], dict[str, float]] = {}
    with _run_processes(methods, settings, report) as running:
        for work in (work for one in settings for work in one["work"]):
            task, all_people = work["task"], len(work["people"])
            few = {
                m.name: peer_people.get(task, 0) if m.kind == "peer" else m.people
                for m in methods
                if m.runs_on(task)
            }
            # Alternate the order of methods, so that drift affects all of them alike.
            for number in range(repeats):
                for name in order_methods(tuple(few), number):
                    first = number == 0
                    people = few[name] if few[name] < all_people else 0
                    order = {"task": task, "warm_up": first, "losses": first, "method": name}
                    got = running[name].send_order({**order, "people": people})
                    # A method that trained fewer people is scaled up to the tokens of all.
                    scale = count_tokens(work["people"]) / count_tokens(
                        work["people"][: people or None]
                    )
                    seconds = got["seconds"] * scale
                    timings.append(
                        Timing(
                            task=task,
                            method=name,
                            repetition=number,
                            seconds=seconds,
                            peak_mib=got["peak_mib"],
                        )
                    )
                    if first:
                        losses[task, name] = got["losses"]
                    report(f"{task} {number + 1}/{repeats} {name}: {seconds:.1f} s")
    return Measurement(timings=tuple(timings), by_person=losses)


def count_tokens(people: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of training tokens of some people in one epoch."""
    return sum(len(ids) for person in people for ids, _ in person["train"])


@contextmanager
def _run_processes(
    methods: Sequence[Contender], settings: Sequence[dict[str, Any]], report: Callable[[str], None]
) -> Iterator[Mapping[str, MethodProcess]]:
    """Start each method's process and yield them by method; they load a base per task."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        running: dict[str, MethodProcess] = {}
        for m in methods:
            if m.process_name not in running:
                command = [m.python, "-m", m.module, str(folder / "settings.json"), m.process_name]
                process = MethodProcess(m.process_name, command, folder / f"{len(running)}.log")
                running[m.process_name] = stack.enter_context(process)
        for name, process in running.items():
            process.wait_until_ready()
            report(f"{name}: ready")
        yield {m.name: running[m.process_name] for m in methods}
