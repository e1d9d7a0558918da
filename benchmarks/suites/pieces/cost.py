"""Cost of assembling compared with personal training, on the same people in the same run.

Operations are those that the mathematics requires, counted as in ``throughput/counted.py``: two per
parameter of the decoder's matrices and token in the forward pass, as many for the gradient of the
activations, and the head on target tokens only. Here adapters count too, including their own
gradient. Work that rows share counts for each row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from idiolect.adapters.lora import LoraConfig, target_modules
from idiolect.history.history import History
from idiolect.models.base import Base
from idiolect.pieces.assembly.by_gates import assemble_recipes
from idiolect.pieces.pool.pool import Pool
from idiolect.prompts.chat_template import encode_invocation, find_invocation
from idiolect.prompts.render import Example
from idiolect.storage.files import read_json, write_json
from idiolect.training.engine.train_many import train_many
from suites.pieces.by_likelihood import select_lengths
from suites.pieces.pools import POOL_FOLDER, open_pool_subset
from suites.pieces.settings import ASSEMBLE, BY_LIKELIHOOD, TRAIN
from suites.pieces.workspace import Workspace
from suites.throughput.counted import count_parameters

TIMED_LENGTHS = 2
"""Number of lengths that assembling by likelihood is timed at; time is proportional to length."""
GROUP_COUNT = 2
"""Groups of people; each gives one ratio."""
EXACT, ANSWERS, WHOLE, ALONE = "exact training", "training on answers", "pieces", "pieces, alone"
LIKELY = "likely"


@dataclass(frozen=True, kw_only=True)
class WayTiming:
    """The cost of one method with one group of people."""

    what: str
    group: int
    seconds: float
    """Per person."""
    operations: float
    """Per person."""


def measure_costs(place: Workspace) -> list[dict[str, Any]]:
    """Time all methods, group by group in alternating order; return one row per method and group.

    Measured once per work folder.
    """
    path = place.artifact_folder / "cost.json"
    if path.is_file():
        return read_json(path)["timed"]
    began = time.perf_counter()
    pool = Pool.open(place.artifact_folder / POOL_FOLDER)
    count = min(place.sizes.timed, place.people.setting.timed)
    people, at_once = place.people.target_users[:count], count // GROUP_COUNT
    ways = _build_ways(place, pool)
    # Warm up: the first call of each method prepares the base.
    for way in ways.values():
        way(people[:1], 1)
    # Reverse the order in every second group, so that drift affects all methods alike.
    out: list[WayTiming] = []
    for group, start in enumerate(range(0, count, at_once)):
        some = people[start : start + at_once]
        for what in ways if group % 2 == 0 else reversed(list(ways)):
            seconds = _time_way(ways[what], some)
            each = sum(count_way_operations(place, pool, what, h) for h in some) / len(some)
            timed = WayTiming(what=what, group=group, seconds=seconds / len(some), operations=each)
            out.append(timed)
    plain = [asdict(one) for one in out]
    place.record_seconds("cost", time.perf_counter() - began, folder=place.artifact_folder)
    write_json(path, {"timed": plain})
    return plain


Way = Callable[[Sequence[History], int], object]
"""Runs a method for some people, with at most this number of items each (0 for all)."""


def _build_ways(place: Workspace, pool: Pool) -> dict[str, Way]:
    """Return the methods to time, by name."""
    exact, chosen = replace(place.lora, active="all"), open_pool_subset(place)

    def make_training(lora: LoraConfig) -> Way:
        return lambda people, last: train_many(
            place.base, [place.make_job(h, last=last) for h in people], lora, TRAIN, place.engine
        )

    def make_assembly(recent: int) -> Way:
        config = replace(ASSEMBLE, recent_k=recent)
        return lambda people, last: assemble_recipes(
            place.base,
            pool,
            {h.person: place.build_examples(h.take_last(last or 999)) for h in people},
            config,
        )

    def assemble_alone(people: Sequence[History], last: int) -> None:
        for history in people:
            make_assembly(0)([history], last)

    def make_likelihood_assembly(recent: int) -> Way:
        config = replace(BY_LIKELIHOOD, recent_k=recent)
        return lambda people, last: assemble_recipes(
            place.base,
            chosen,
            {h.person: place.build_examples(h.take_last(last or 999)) for h in people},
            config,
        )

    # Training, pieces by gates (in one call or one per person), and pieces from the last items.
    out: dict[str, Way] = {
        EXACT: make_training(exact),
        ANSWERS: make_training(place.lora),
        WHOLE: make_assembly(0),
    }
    out[ALONE] = assemble_alone
    out |= {f"{WHOLE} {k}": make_assembly(k) for k in place.sizes.recent}
    return out | {
        f"{LIKELY} {k}": make_likelihood_assembly(k) for k in select_lengths(place)[:TIMED_LENGTHS]
    }


def _time_way(way: Way, people: Sequence[History]) -> float:
    began = time.perf_counter()
    way(people, 0)
    return time.perf_counter() - began


def count_way_operations(place: Workspace, pool: Pool, what: str, history: History) -> float:
    """Return the operations that a method requires for one person."""
    examples = place.build_examples(history)
    if what in (EXACT, ANSWERS):
        return (
            TRAIN.epochs * _count_exact_training(place, examples)
            if what == EXACT
            else _count_answer_training(place, examples)
        )
    if what.startswith(LIKELY):
        return _count_likelihood_assembly(place, examples[-int(what.split()[1]) :])
    recent = what.removeprefix(WHOLE).strip(" ,alone")
    return _count_assembly(place, pool, examples[-int(recent or 0) :])


def _count_assembly(place: Workspace, pool: Pool, examples: Sequence[Example]) -> float:
    """One forward pass without head, all gates' scores once, the chosen pieces on each token."""
    body, _ = count_parameters(place.base.model)
    tokens = sum(len(e.ids) - 1 for e in examples)
    gates = 2 * len(pool.sharers) * sum(site.inputs for site in pool.modules)
    acting = sum(
        len(e.ids) - 1 - find_first_active_token(place.base, place.lora, e) for e in examples
    )
    return 2 * body * tokens + 2 * ASSEMBLE.top_k * count_adapter_parameters(place) * acting + gates


def _count_likelihood_assembly(place: Workspace, examples: Sequence[Example]) -> float:
    """Prompts once; answers under the base and under each sharer's adapter, with the head."""
    body, head = count_parameters(place.base.model)
    asked = 1 + place.sizes.sharers
    prompts = sum(find_first_active_token(place.base, place.lora, e) for e in examples)
    rest = asked * (sum(len(e.ids) - 1 for e in examples) - prompts)
    targets = asked * sum(e.num_targets for e in examples)
    return 2 * (body * (prompts + rest) + head * targets + count_adapter_parameters(place) * rest)


def _count_exact_training(place: Workspace, examples: Sequence[Example]) -> float:
    """One epoch on all tokens."""
    body, head = count_parameters(place.base.model)
    tokens, targets = sum(len(e.ids) for e in examples), sum(e.num_targets for e in examples)
    return 4 * (body * tokens + head * targets) + 6 * count_adapter_parameters(place) * tokens


def _count_answer_training(place: Workspace, examples: Sequence[Example]) -> float:
    """All epochs; prompts run once."""
    body, head = count_parameters(place.base.model)
    prompts = sum(find_first_active_token(place.base, place.lora, e) for e in examples)
    rest = sum(len(e.ids) for e in examples) - prompts
    targets = sum(e.num_targets for e in examples)
    epoch = 4 * (body * rest + head * targets) + 6 * count_adapter_parameters(place) * rest
    return 2 * body * prompts + TRAIN.epochs * epoch


def find_first_active_token(base: Base, lora: LoraConfig, example: Example) -> int:
    """Return the index of the first token that adapters act on."""
    if lora.active == "all":
        return 0
    return find_invocation(example.ids[: example.answer_start], encode_invocation(base.tokenizer))


def count_adapter_parameters(place: Workspace) -> int:
    """Return the number of parameters of one adapter."""
    found = target_modules(place.base.model, place.lora)
    return sum(place.lora.rank * (site.inputs + site.outputs) for site in found)
