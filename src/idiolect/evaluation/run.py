"""Complete evaluations: from a dataset, or from the demo's data, to a report on disk."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from idiolect.config import derive_seed
from idiolect.errors import UsageError
from idiolect.evaluation.demo import compare_demo_tasks
from idiolect.evaluation.environment import describe_hardware, list_versions
from idiolect.evaluation.experiment import ExperimentConfig, require_unseen, run_experiment
from idiolect.evaluation.reports.report import build_report, write_report
from idiolect.evaluation.request import EvaluateRequest
from idiolect.evaluation.results import Comparison
from idiolect.evaluation.runner import EvaluateConfig, check_adapted_bases
from idiolect.events import Listener, null_listener, tee
from idiolect.history.dataset import Dataset, read_dataset
from idiolect.history.history import History
from idiolect.models.base import Base
from idiolect.models.load import load_base
from idiolect.storage.metrics_log import MetricsLog
from idiolect.tasks.registry import get_task


def evaluate_dataset(
    request: EvaluateRequest, *, listener: Listener = null_listener
) -> dict[str, Any]:
    """Compare methods on a dataset and write the report; see ``api.evaluate``."""
    config, out = request.config or EvaluateConfig(), request.out
    if request.methods:
        config = replace(config, methods=tuple(request.methods))
    dataset = read_dataset(request.data)
    # Choose the people before the models are loaded: a wrong name fails at once.
    personal = config.personal
    chosen = _sample_people(dataset, request.people, personal.train.seed, personal.least_items)
    loaded = load_base(
        request.base,
        dtype=config.dtype,
        device=config.device,
        quantize=config.quantize,
        listener=listener,
    )
    further = {
        kind: load_base(source, dtype=config.dtype, device=config.device, quantize=config.quantize)
        for kind, source in (("rag", request.rag_base), ("pag", request.pag_base))
        if source is not None
    }
    # A base that was trained on the tested people would make the scores too good.
    for one in (loaded, *further.values()):
        require_unseen(one, [h.person for h in chosen])
    check_adapted_bases({"plain": loaded, **further}, config)
    # The bases are used unchanged, so there are no other people to adapt them on.
    comparison = run_experiment(
        loaded,
        get_task(dataset.task),
        chosen,
        [],
        ExperimentConfig(evaluate=config, adapt=None),
        out / "work",
        dataset=dataset.name,
        further=further,
        listener=tee(listener, MetricsLog(out / "metrics.jsonl")),
    )
    return report_comparisons([comparison], out, loaded, config.personal.train.seed)


def run_demo(
    out: Path, *, people: int | None = None, seed: int = 0, listener: Listener = null_listener
) -> dict[str, Any]:
    """Run the demo and write its report; see ``api.demo``."""
    base = load_base()
    logged = tee(listener, MetricsLog(out / "metrics.jsonl"))
    comparisons = compare_demo_tasks(base, out / "work", people=people, seed=seed, listener=logged)
    return report_comparisons(comparisons, out, base, seed)


def report_comparisons(
    comparisons: Sequence[Comparison], out: Path, base: Base, seed: int
) -> dict[str, Any]:
    """Write the report of some comparisons to ``out``, and return its content."""
    accelerator = None
    if base.device.type == "cuda":
        accelerator = torch.cuda.get_device_name()
    report = build_report(
        comparisons, hardware=describe_hardware(accelerator), versions=list_versions(), seed=seed
    )
    write_report(out, report)
    return report


def _sample_people(
    dataset: Dataset, people: Sequence[str] | int, seed: int, least: int
) -> list[History]:
    """Return the named people, ``people`` of them drawn with the seed, or all who can be tested.

    A person can be tested with at least ``least`` items, or with queries of the dataset's own.
    Raises UsageError if the dataset has fewer such people than ``people``.
    """
    if not isinstance(people, int) and people:
        return list(dataset.iter_histories(people))
    # Prefer the dataset's test split, if it has one.
    able = [
        p
        for p in dataset.list_split_people("test") or dataset.people
        if dataset.get_counts(p)[0] >= least or dataset.get_counts(p)[1]
    ]
    if isinstance(people, int):
        if people > len(able):
            raise UsageError(
                f"{people} people are wanted, but only {len(able)} can be tested (the others "
                f"have fewer than {least} items)"
            )
        able = sorted(random.Random(derive_seed(seed, "people")).sample(able, people))
    return list(dataset.iter_histories(able))
