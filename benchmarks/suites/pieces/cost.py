"""What assembling costs against personal training, on the same people in the same run.

Operations are those that the mathematics needs, counted like ``throughput/counted.py``: two for
each number of the decoder's matrices and token forward, as many for the gradient of the
activations, the head on target tokens alone; here adapters count, too (their own gradient as well).
What is shared between rows is counted for each row.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from idiolect.adapters.lora import LoraConfig, sites
from idiolect.history.history import History
from idiolect.models.base import Base
from idiolect.pieces.assembly.by_gates import assemble
from idiolect.pieces.pool.pool import Pool
from idiolect.prompts.chat_template import invocation_of, invoked_at
from idiolect.prompts.render import Example
from idiolect.storage.files import read_json, write_json
from idiolect.training.engine.train_many import train_many
from suites.pieces.by_likelihood import lengths
from suites.pieces.pools import POOL, some_of
from suites.pieces.settings import ASSEMBLE, BY_LIKELIHOOD, TRAIN
from suites.pieces.workspace import Place
from suites.throughput.counted import parameters

ASKED = 2
"""Lengths of history at which asking every sharer is timed: twice as long takes twice the time."""
GROUPS = 2
"""Groups of people; each gives a ratio."""
EXACT, ANSWERS, WHOLE, ALONE = "exact training", "training on answers", "pieces", "pieces, alone"
LIKELY = "likely"


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One way with one group of people."""

    what: str
    group: int
    seconds: float
    """A person."""
    operations: float
    """A person."""


def costs(place: Place) -> list[dict[str, Any]]:
    """Timings of all ways, group by group in alternating order; once made they are kept."""
    path = place.made / "cost.json"
    if path.is_file():
        return read_json(path)["timed"]
    began = time.perf_counter()
    pool = Pool.open(place.made / POOL)
    count = min(place.sizes.timed, place.people.setting.timed)
    people, at_once = place.people.newcomers[:count], count // GROUPS
    ways = _ways(place, pool)
    for way in ways.values():  # the first one of a kind prepares
        way(people[:1], 1)
    out: list[Timed] = []
    for group, start in enumerate(range(0, count, at_once)):
        some = people[start : start + at_once]
        for what in ways if group % 2 == 0 else reversed(list(ways)):
            seconds = _seconds(ways[what], some)
            each = sum(operations(place, pool, what, h) for h in some) / len(some)
            timed = Timed(what=what, group=group, seconds=seconds / len(some), operations=each)
            out.append(timed)
    plain = [asdict(one) for one in out]
    place.note("cost", time.perf_counter() - began, folder=place.made)
    write_json(path, {"timed": plain})
    return plain


Way = Callable[[Sequence[History], int], object]
"""Does it for some people, with at most so many items each (0 for all)."""


def _ways(place: Place, pool: Pool) -> dict[str, Way]:
    exact, chosen = replace(place.lora, active="all"), some_of(place)

    def train(lora: LoraConfig) -> Way:
        return lambda people, last: train_many(
            place.base, [place.job(h, last=last) for h in people], lora, TRAIN, place.engine
        )

    def assembling(recent: int) -> Way:
        config = replace(ASSEMBLE, recent_k=recent)
        return lambda people, last: assemble(
            place.base,
            pool,
            {h.person: place.examples(h.last(last or 999)) for h in people},
            config,
        )

    def alone(people: Sequence[History], last: int) -> None:
        for history in people:
            assembling(0)([history], last)

    def likely(recent: int) -> Way:
        config = replace(BY_LIKELIHOOD, recent_k=recent)
        return lambda people, last: assemble(
            place.base,
            chosen,
            {h.person: place.examples(h.last(last or 999)) for h in people},
            config,
        )

    out: dict[str, Way] = {EXACT: train(exact), ANSWERS: train(place.lora), WHOLE: assembling(0)}
    out[ALONE] = alone
    out |= {f"{WHOLE} {k}": assembling(k) for k in place.sizes.recent}
    return out | {f"{LIKELY} {k}": likely(k) for k in lengths(place)[:ASKED]}


def _seconds(way: Way, people: Sequence[History]) -> float:
    began = time.perf_counter()
    way(people, 0)
    return time.perf_counter() - began


def operations(place: Place, pool: Pool, what: str, history: History) -> float:
    """What a way needs for one person."""
    examples = place.examples(history)
    if what in (EXACT, ANSWERS):
        return (
            TRAIN.epochs * _training(place, examples)
            if what == EXACT
            else _answers(place, examples)
        )
    if what.startswith(LIKELY):
        return _likely(place, examples[-int(what.split()[1]) :])
    recent = what.removeprefix(WHOLE).strip(" ,alone")
    return _assembling(place, pool, examples[-int(recent or 0) :])


def _assembling(place: Place, pool: Pool, examples: Sequence[Example]) -> float:
    """One forward without the head; scores of all gates once, the chosen pieces on every token."""
    body, _ = parameters(place.base.model)
    tokens = sum(len(e.ids) - 1 for e in examples)
    gates = 2 * len(pool.sharers) * sum(site.inputs for site in pool.modules)
    acting = sum(len(e.ids) - 1 - begin(place.base, place.lora, e) for e in examples)
    return 2 * body * tokens + 2 * ASSEMBLE.top_k * adapter_size(place) * acting + gates


def _likely(place: Place, examples: Sequence[Example]) -> float:
    """Prompts once, answers by the base and by every sharer, with the head."""
    body, head = parameters(place.base.model)
    asked = 1 + place.sizes.sharers
    prompts = sum(begin(place.base, place.lora, e) for e in examples)
    rest = asked * (sum(len(e.ids) - 1 for e in examples) - prompts)
    targets = asked * sum(e.targets for e in examples)
    return 2 * (body * (prompts + rest) + head * targets + adapter_size(place) * rest)


def _training(place: Place, examples: Sequence[Example]) -> float:
    """One epoch on all tokens."""
    body, head = parameters(place.base.model)
    tokens, targets = sum(len(e.ids) for e in examples), sum(e.targets for e in examples)
    return 4 * (body * tokens + head * targets) + 6 * adapter_size(place) * tokens


def _answers(place: Place, examples: Sequence[Example]) -> float:
    """All epochs where prompts run once."""
    body, head = parameters(place.base.model)
    prompts = sum(begin(place.base, place.lora, e) for e in examples)
    rest = sum(len(e.ids) for e in examples) - prompts
    targets = sum(e.targets for e in examples)
    epoch = 4 * (body * rest + head * targets) + 6 * adapter_size(place) * rest
    return 2 * body * prompts + TRAIN.epochs * epoch


def begin(base: Base, lora: LoraConfig, example: Example) -> int:
    """The first token of an example on which adapters act."""
    if lora.active == "all":
        return 0
    return invoked_at(example.ids[: example.answer_start], invocation_of(base.tokenizer))


def adapter_size(place: Place) -> int:
    """Numbers of one adapter."""
    found = sites(place.base.model, place.lora)
    return sum(place.lora.rank * (site.inputs + site.outputs) for site in found)
