"""Times of assembling with pools of 10 to 10,000 sharers.

The additional sharers are artificial: their gates are random numbers, and their pieces are links to
real files, so that the pool takes one gigabyte instead of forty. The pool is opened, checked and
read like any other.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from idiolect.pieces.assembly.by_gates import assemble_recipes
from idiolect.pieces.pool.adapter_file import get_adapter_path
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.pool.segment import (
    GateSegment,
    SharerRecord,
    hash_rows,
    write_gates,
    write_records,
)
from idiolect.storage.files import read_json, write_json
from suites.pieces.pools import POOL_FOLDER
from suites.pieces.settings import ASSEMBLE, BY_LIKELIHOOD, SEED
from suites.pieces.workspace import Workspace

SHARERS_PER_SEGMENT = 1_000
REPEATS = 3


def measure_growth(place: Workspace) -> list[dict[str, Any]]:
    """Time each size of pool; return one row per size. Sizes in the work folder are not repeated.

    A row holds the seconds to open the pool and assemble for the first time (which checks all
    gates), the seconds for one target user after that, and the bytes of gates per sharer.
    """
    path = place.artifact_folder / "growth.json"
    rows: list[dict[str, Any]] = read_json(path)["rows"] if path.is_file() else []
    for count in place.sizes.pools:
        if any(row["sharers"] == count for row in rows):
            continue
        began = time.perf_counter()
        folder = place.artifact_folder / f"made-up-{count}"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            make_random_pool(Pool.open(place.artifact_folder / POOL_FOLDER), folder, count)
            rows.append(_time_pool(place, folder, count))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        place.record_seconds("growth", time.perf_counter() - began, folder=place.artifact_folder)
        write_json(path, {"rows": rows})
    return rows


def _time_pool(place: Workspace, folder: Path, count: int) -> dict[str, Any]:
    config = replace(ASSEMBLE, recent_k=place.people.setting.few)
    history = place.people.target_users[0]
    examples = {history.person: place.build_examples(history)}
    # Prepare the base with the real pool, so that this does not count.
    assemble_recipes(place.base, Pool.open(place.artifact_folder / POOL_FOLDER), examples, config)
    began = time.perf_counter()
    pool = Pool.open(folder)
    opened = time.perf_counter() - began
    assemble_recipes(place.base, pool, examples, config)
    first = time.perf_counter() - began
    # The first time has checked all gates; the median of the next ones is the lasting cost.
    again: list[float] = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        assemble_recipes(place.base, pool, examples, config)
        again.append(time.perf_counter() - began)
    began = time.perf_counter()
    assemble_recipes(place.base, pool, examples, replace(BY_LIKELIHOOD, recent_k=config.recent_k))
    likely = time.perf_counter() - began
    gates = sum(p.stat().st_size for p in (folder / "segments").glob("*.safetensors"))
    return {
        "sharers": count,
        "opened": opened,
        "first": first,
        "seconds": median(again),
        "likely": likely,
        "items": min(config.recent_k, len(examples[history.person])),
        "gate_bytes": gates / count,
    }


def make_random_pool(real: Pool, folder: Path, count: int) -> None:
    """Write a pool of ``count`` sharers with random gates and links to the real sharers' pieces."""
    (folder / "segments").mkdir(parents=True)
    (folder / "pieces").mkdir()
    shutil.copyfile(real.folder / Pool.HEADER_FILE, folder / Pool.HEADER_FILE)
    draw = torch.Generator().manual_seed(SEED)
    whole = "1" * len(real.sites)
    for number, start in enumerate(range(0, count, SHARERS_PER_SEGMENT), 1):
        rows = range(start, min(count, start + SHARERS_PER_SEGMENT))
        # Each segment has the gates of its sharers as rows of one tensor per module.
        gates = dict(_iter_random_gates(real, len(rows), draw))
        header = write_gates(folder / "segments", number, gates)
        records: list[SharerRecord] = []
        for row, sharer in enumerate(rows):
            lender = real.sharers[sharer % len(real.sharers)]
            # A hard link to the pieces of a real sharer, in turn.
            name = f"{sharer:016x}"
            os.link(
                get_adapter_path(real.folder / "pieces", lender),
                get_adapter_path(folder / "pieces", name),
            )
            records.append(
                SharerRecord(
                    sharer=name,
                    row=row,
                    shared=whole,
                    gates_sha256=hash_rows([gates[path][row] for path in real.sites]),
                    pieces_sha256=real.get_record(lender).pieces_sha256,
                )
            )
        write_records(folder / "segments", real.id, GateSegment(number, header, tuple(records)))


def _iter_random_gates(
    real: Pool, count: int, draw: torch.Generator
) -> Iterator[tuple[str, Tensor]]:
    for site in real.modules:
        gate = torch.randn(count, site.inputs, generator=draw)
        gate = gate - gate.mean(dim=1, keepdim=True)
        yield site.path, (gate / gate.std(dim=1, correction=0, keepdim=True)).half()
