"""The plan of a run: people, methods and settings, from a command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from idiolect.errors import UsageError
from idiolect.models.base import Base
from idiolect.models.structure import get_text_config
from idiolect.training.schedule import TrainConfig
from suites.throughput.bases import SHAPES, load_shape_or_base
from suites.throughput.contenders import PEER_A, Contender, list_contenders
from suites.throughput.work import TrainingWork, load_real_work, make_random_work

PEOPLE = {"rating": 12, "reply": 3, "lamp-5": 2}
PEER_PEOPLE = {"rating": 2, "reply": 1, "lamp-5": 1}
"""The number of these people that peers train, one after another; few, to save time."""
ITEMS, BATCH = 16, 16
RATE = 8e-3
"""The best learning rate of 2e-3 to 3.2e-2 for exact training in two steps, on all three tasks."""
SHAPE_PEOPLE, SHAPE_ITEMS, SHAPE_BATCH, SHAPE_TOKENS = 32, 32, 8, 100
"""With random weights: 8 items of 100 tokens per step and person, 4 steps per epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The base, people, methods and settings of a run."""

    base: Base
    name: str
    bases: Mapping[str, str]
    """Adapted bases by task; other tasks use ``base``."""
    device: str
    works: tuple[TrainingWork, ...]
    methods: tuple[Contender, ...]
    train: TrainConfig
    repeats: int
    peer_people: Mapping[str, int]
    """The number of people that peers train, by task; all people for other tasks."""
    quick: bool = False
    """Measures matrix products for a short time only; for tests."""


def build_plan(options: argparse.Namespace) -> Plan:
    """Return the plan of a command line; raises UsageError if options do not fit together."""
    name = options.shape or ("135m" if options.device == "cuda" else "default")
    base = load_shape_or_base(name, options.device)
    # A shape trains random items; otherwise real people of each task.
    if name in SHAPES:
        works = (
            make_random_work(
                name,
                people=options.people or SHAPE_PEOPLE,
                items=options.items or SHAPE_ITEMS,
                tokens=SHAPE_TOKENS,
                words=get_text_config(base.model).vocab_size,
            ),
        )
        methods = tuple(m for m in list_contenders(None) if m.name != PEER_A and m.runs_on(name))
        batch = SHAPE_BATCH
    else:
        asked = options.only or [t for t in PEOPLE if t != "lamp-5" or options.scholarly]
        works = tuple(
            load_real_work(
                base,
                task,
                people=options.people or PEOPLE[task],
                items=options.items or ITEMS,
                scholarly=options.scholarly,
            )
            for task in asked
        )
        methods = tuple(
            m for m in list_contenders(options.mlora) if any(m.runs_on(task) for task in asked)
        )
        batch = BATCH
    # Restrict the methods if the command line names some.
    if options.method:
        methods = tuple(m for m in methods if m.name in options.method)
        if len(methods) < len(set(options.method)):
            known = ", ".join(m.name for m in list_contenders(options.mlora))
            raise UsageError(
                f"--method: {options.method}: not all of these are known; the methods are {known}"
            )
    return Plan(
        base=base,
        name=name,
        bases=_parse_bases(options.base or ()),
        device=options.device,
        works=works,
        methods=methods,
        train=TrainConfig(batch=batch, rate=RATE),
        repeats=options.repeats,
        peer_people={
            w.task: PEER_PEOPLE[w.task] for w in works if not (options.people or name in SHAPES)
        },
        quick=name == "tiny",
    )


def _parse_bases(named: Sequence[str]) -> dict[str, str]:
    """Return the folder of each ``TASK=FOLDER`` by task; raises UsageError for another form."""
    out: dict[str, str] = {}
    for one in named:
        task, separator, folder = one.partition("=")
        if not separator or task not in PEOPLE or not folder:
            raise UsageError(f"--base {one}: expected TASK=FOLDER, TASK one of {', '.join(PEOPLE)}")
        out[task] = folder
    return out
