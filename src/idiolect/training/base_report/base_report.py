"""Reports on one base model: what it is, what it needs, and what works with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from idiolect.adapters.lora import LoraConfig, num_layers, target_modules
from idiolect.errors import MismatchError, UsageError
from idiolect.models.base import Base
from idiolect.models.device import DtypeName, get_free_bytes, pick_device, pick_dtype
from idiolect.models.folder.weights import silence_transformers
from idiolect.models.load import check_base_folder, load_base
from idiolect.models.structure import get_text_config
from idiolect.models.ways import WAY_COSTS, Ways
from idiolect.training.base_report.export_tools import ExportTool, check_export_tools
from idiolect.training.base_report.memory_estimate import (
    PRECISIONS,
    MemoryEstimate,
    estimate_memory,
)
from idiolect.training.base_report.model_sizes import make_empty_copy, measure_sizes


@dataclass(frozen=True, kw_only=True)
class WayVerdict:
    """Whether one fast way of running the base gives the plain way's numbers."""

    way: str
    right: bool
    differs: str = ""
    """What differed, in words; empty if the way is right."""
    costs: str = ""
    """What the plain way costs instead; empty if the way is right."""


@dataclass(frozen=True, kw_only=True)
class BaseReport:
    """A base model that was not refused."""

    source: str
    name: str
    identity: str
    """SHA-256 over the weight files (hex); empty if the base was not loaded."""
    family: str
    """transformers' name of the family (``model_type``)."""
    architecture: str
    parameters: int
    layers: int
    max_tokens: int
    device: str
    dtype: str
    """The dtype in which the base runs on this machine by default."""
    targets: tuple[str, ...]
    """Names of the modules that get an adapter by default."""
    target_modules: int
    """How many modules these are in all layers."""
    adapter_parameters: int
    memory: tuple[MemoryEstimate, ...]
    """Computed, for each precision."""
    ways: tuple[WayVerdict, ...]
    """Empty if the base was not loaded."""
    flat_modules: tuple[str, ...]
    """Names of modules whose rows cannot be told apart: adapters on them train one person at a
    time."""
    not_loaded: str
    """Why the base was not loaded, so its ways are not known; empty if it was."""
    exports: tuple[ExportTool, ...]


def check_base(source: str, *, dtype: DtypeName = "auto", device: str = "auto") -> BaseReport:
    """Load a base as training does, and report on it; see ``api.check_base``."""
    where = pick_device(device)
    kind = pick_dtype(dtype, where)
    found = check_base_folder(source)
    # Loading more than there is room for would end in the kernel's killing this process.
    needed, free = found.numbers * kind.itemsize, get_free_bytes(where)
    if needed <= free:
        base = load_base(source, dtype=dtype, device=device)
        return _build_report(source, base, make_empty_copy(base.model), kind, where, "")
    with torch.device("meta"), silence_transformers():
        empty = found.model_class.from_config(found.config).eval()
    not_loaded = (
        f"the weights take {needed / 1e9:,.1f} GB and {where.type} has {free / 1e9:,.1f} GB free"
    )
    return _build_report(source, None, empty, kind, where, not_loaded)


def _build_report(
    source: str,
    base: Base | None,
    empty: Any,
    dtype: torch.dtype,
    device: torch.device,
    not_loaded: str,
) -> BaseReport:
    config = get_text_config(empty)
    lora = LoraConfig()
    try:
        targets = target_modules(empty, lora)
    except UsageError as error:
        raise MismatchError(f"{source}: {error}") from error
    # PEFT changes the copy when it is checked, so everything is counted before.
    adapter, sizes = lora.count_parameters(empty), measure_sizes(empty)
    return BaseReport(
        source=source,
        name=base.name if base else Path(source).name,
        identity=base.identity if base else "",
        family=str(config.model_type),
        architecture=type(empty).__name__,
        parameters=sizes.parameters,
        layers=num_layers(empty),
        max_tokens=base.max_tokens if base else int(config.max_position_embeddings),
        device=device.type,
        dtype=str(dtype).removeprefix("torch."),
        targets=_list_names(one.path for one in targets),
        target_modules=len(targets),
        adapter_parameters=adapter,
        memory=tuple(estimate_memory(sizes, one, adapter) for one in PRECISIONS),
        ways=_list_verdicts(base.ways) if base else (),
        flat_modules=_list_names(base.ways.flat_modules) if base else (),
        not_loaded=not_loaded,
        exports=check_export_tools(empty, targets, lora.rank),
    )


def _list_names(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the last names of modules' paths, each once, in order."""
    return tuple(sorted({path.rpartition(".")[2] for path in paths}))


def _list_verdicts(ways: Ways) -> tuple[WayVerdict, ...]:
    """Return the verdict on each way, in the order of ``WAY_COSTS``."""
    return tuple(
        WayVerdict(
            way=name,
            right=(right := bool(getattr(ways, name))),
            differs="" if right else ways.reasons.get(name, "it differs from the plain way"),
            costs="" if right else costs,
        )
        for name, costs in WAY_COSTS.items()
    )
