"""The whole way from a dataset and a pool to recipes: opens what is needed.

Knows folders and settings; the work itself is in ``assembling.py``.
"""

from __future__ import annotations

from idiolect.events import Listener, null_listener
from idiolect.history.dataset import read_dataset
from idiolect.models.base import load_base
from idiolect.pieces.assembly.assembler import Assembler, AssembleSummary
from idiolect.pieces.assembly.newcomers import require_enough_sharers
from idiolect.pieces.assembly.request import AssembleRequest
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import RecipeConfig
from idiolect.pieces.recipes.store import RecipeStore
from idiolect.tasks.registry import get_task


def assemble_data(
    request: AssembleRequest, *, listener: Listener = null_listener
) -> AssembleSummary:
    """See ``api.assemble``; everything that can be known to be wrong is said before a model is
    loaded."""
    config, out = request.config or RecipeConfig(), request.out
    dataset, opened = read_dataset(request.data), Pool.open(request.pool)
    task = get_task(dataset.task)
    names = tuple(dict.fromkeys(request.people)) or dataset.people
    for person in names:
        dataset.get_counts(person)
    opened.check_compatible(base=opened.base, task=task.name)
    require_enough_sharers(opened, config.assemble)
    RecipeStore.require_room(out, opened)
    source = request.base or opened.base_source
    loaded = load_base(source, dtype=config.dtype, device=config.device)
    run = Assembler(loaded, task, opened, config, out, listener=listener)
    return run.run(dataset.iter_histories(names), people=len(names), wait=request.wait)
