"""Whole evaluations: from a dataset, or the demo's people, to a report on disk."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from idiolect.config import derive_seed
from idiolect.errors import UsageError
from idiolect.evaluation.demo import run_demo
from idiolect.evaluation.environment import hardware, versions
from idiolect.evaluation.experiment import StudyConfig, require_unseen, study
from idiolect.evaluation.reports.report import build_report, write_report
from idiolect.evaluation.request import EvaluateRequest
from idiolect.evaluation.results import Comparison
from idiolect.evaluation.runner import EvaluateConfig
from idiolect.events import Listener, both, silent
from idiolect.history.dataset import Dataset, read_dataset
from idiolect.history.history import History
from idiolect.models.base import Base, load_base
from idiolect.storage.metrics_log import MetricsLog
from idiolect.tasks.registry import get_task


def evaluate_dataset(request: EvaluateRequest, *, listener: Listener = silent) -> dict[str, Any]:
    """See ``api.evaluate``."""
    config, out = request.config or EvaluateConfig(), request.out
    if request.methods:
        config = replace(config, methods=tuple(request.methods))
    dataset = read_dataset(request.data)
    personal = config.personal
    chosen = _drawn(dataset, request.people, personal.train.seed, personal.least_items)
    loaded = load_base(request.base, dtype=config.dtype, device=config.device)
    further = {
        kind: load_base(source, dtype=config.dtype, device=config.device)
        for kind, source in (("rag", request.rag_base), ("pag", request.pag_base))
        if source is not None
    }
    for one in (loaded, *further.values()):
        require_unseen(one, [h.person for h in chosen])
    compared = study(
        loaded,
        get_task(dataset.task),
        chosen,
        [],
        StudyConfig(evaluate=config, adapt=None),
        out / "work",
        dataset=dataset.name,
        further=further,
        listener=both(listener, MetricsLog(out / "metrics.jsonl")),
    )
    return finish([compared], out, loaded, config.personal.train.seed)


def demonstrate(
    out: Path, *, people: int | None = None, seed: int = 0, listener: Listener = silent
) -> dict[str, Any]:
    """See ``api.demo``."""
    base = load_base()
    told = both(listener, MetricsLog(out / "metrics.jsonl"))
    compared = run_demo(base, out / "work", people=people, seed=seed, listener=told)
    return finish(compared, out, base, seed)


def finish(compared: Sequence[Comparison], out: Path, base: Base, seed: int) -> dict[str, Any]:
    """Write the report of some studies; gives its content."""
    accelerator = None
    if base.device.type == "cuda":
        accelerator = torch.cuda.get_device_name()
    report = build_report(compared, hardware=hardware(accelerator), versions=versions(), seed=seed)
    write_report(out, report)
    return report


def _drawn(dataset: Dataset, people: Sequence[str] | int, seed: int, least: int) -> list[History]:
    """The people named, a seeded draw of so many, or all who may be tested."""
    if not isinstance(people, int) and people:
        return list(dataset.histories(people))
    able = [
        p
        for p in dataset.people_in("test") or dataset.people
        if dataset.counts(p)[0] >= least or dataset.counts(p)[1]
    ]
    if isinstance(people, int):
        if people > len(able):
            raise UsageError(
                f"{people} people are wanted, but only {len(able)} can be tested (the others "
                f"have fewer than {least} items)"
            )
        able = sorted(random.Random(derive_seed(seed, "people")).sample(able, people))
    return list(dataset.histories(able))
