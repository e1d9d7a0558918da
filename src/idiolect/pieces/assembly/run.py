"""Runs ``assemble`` from a request: opens the dataset, the pool and the base.

This module handles folders and settings; ``assembler.py`` does the work.
"""

from __future__ import annotations

from idiolect.events import Listener, null_listener
from idiolect.history.dataset import read_dataset
from idiolect.history.suppress import require_none_forgotten
from idiolect.models.load import load_base
from idiolect.pieces.assembly.assembler import Assembler, AssembleSummary
from idiolect.pieces.assembly.request import AssembleRequest
from idiolect.pieces.assembly.target_users import require_enough_sharers
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import RecipeConfig
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.tasks.registry import get_task


def assemble_data(
    request: AssembleRequest, *, listener: Listener = null_listener
) -> AssembleSummary:
    """Implement ``api.assemble``. All checks that need no model run before the base is loaded."""
    config, out = request.config or RecipeConfig(), request.out
    dataset, opened = read_dataset(request.data), Pool.open(request.pool)
    task = get_task(dataset.task)
    # Cheap checks first: unknown people, another task or base, a pool that is too small, a folder
    # that holds other files.
    names = tuple(dict.fromkeys(request.people)) or dataset.people
    for person in names:
        dataset.get_counts(person)
    opened.check_compatible(base=opened.base, task=task.name)
    require_enough_sharers(opened.folder, len(opened.sharers), config.assemble)
    RecipeStore.require_room(out, opened)
    require_none_forgotten(dataset.iter_histories(names), task.name, request.data, out)
    source = request.base or opened.base_source
    loaded = load_base(
        source,
        dtype=config.dtype,
        device=config.device,
        quantize=config.quantize,
        listener=listener,
    )
    run = Assembler(loaded, task, opened, config, out, listener=listener)
    return run.run(dataset.iter_histories(names), people=len(names), wait=request.wait)
