"""The demo: real people of two kinds, everything from import to report, in minutes on two cores."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from idiolect.config import derive_seed
from idiolect.errors import UsageError
from idiolect.evaluation.experiment import ExperimentConfig, run_experiment
from idiolect.evaluation.results import Comparison
from idiolect.evaluation.runner import EvaluateConfig
from idiolect.events import Listener, Message
from idiolect.history.history import History
from idiolect.importers.registry import import_histories
from idiolect.models.base import Base
from idiolect.tasks.registry import get_task
from idiolect.training.adapt_base import AdaptConfig
from idiolect.training.runs.plan import PersonalConfig
from idiolect.training.schedule import TrainConfig

NUM_RATERS, NUM_CHATTERS = 8, 4
LAST_ITEMS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTask:
    """One real dataset of the demo and of the benchmark: whose data, and who may be tested."""

    format: str
    task: str
    dataset: str
    min_items: int
    max_items: int
    """Testable people have so many items, at least and at most."""


FILMS = DemoTask(
    format="movielens",
    task="rating",
    dataset="MovieLens-100k (recbole)",
    min_items=60,
    max_items=120,
)
CHATS = DemoTask(
    format="chitchat",
    task="reply",
    dataset="Chit Chat Challenge (chitchat-dataset)",
    min_items=60,
    max_items=1200,
)


def draw_people(
    subject: DemoTask, count: int, *, seed: int, purpose: str = "tested", last: int = LAST_ITEMS
) -> tuple[list[History], list[History]]:
    """The tested people, cut to their last items, and everyone else. A seeded draw.

    Different purposes draw from disjoint halves of the people, so that defaults found on one
    ("development") are never judged on those they were found on ("tested").
    Raises UsageError where there are not so many people.
    """
    histories = list(import_histories(format=subject.format).histories)
    half = 0 if purpose == "tested" else 1
    able = [
        h.person
        for h in histories
        if subject.min_items <= len(h.items) <= subject.max_items
        and derive_seed(0, subject.format, h.person) % 2 == half
    ]
    if count > len(able):
        raise UsageError(
            f"--people {count}: only {len(able)} people of {subject.dataset} have "
            f"{subject.min_items} to {subject.max_items} items and may be tested"
        )
    chosen = set(random.Random(derive_seed(seed, subject.format, purpose)).sample(able, count))
    tested = [h.take_last(last) if last else h for h in histories if h.person in chosen]
    return tested, [h for h in histories if h.person not in chosen]


def make_experiment_config(subject: DemoTask, *, seed: int, quick: bool) -> ExperimentConfig:
    """Settings of a study of a subject; ``quick`` is the demo's size."""
    personal = PersonalConfig(train=TrainConfig(seed=seed))
    evaluate = EvaluateConfig(methods=("base", "oppu", "rag"), personal=personal, queries=10)
    adapting = AdaptConfig()
    rated = subject.task == "rating"
    # Ratings of one film by many people are one question, so all of them cost no more than some.
    items = 0 if rated else (300 if quick else 1000)
    epochs = (1 if quick else 2) if rated else 1
    train = replace(adapting.train, seed=seed, epochs=epochs, batch=16)
    return ExperimentConfig(
        evaluate=replace(evaluate, queries=8) if quick else evaluate,
        adapt=replace(adapting, train=train, most_items=items),
        context_items=40 if quick else 120,
    )


def compare_demo_tasks(
    base: Base, work: Path, *, people: int | None, seed: int, listener: Listener
) -> Sequence[Comparison]:
    """Both studies; ``people`` of each kind instead of 8 who rate and 4 who chat."""
    out: list[Comparison] = []
    for subject, usual in ((FILMS, NUM_RATERS), (CHATS, NUM_CHATTERS)):
        listener(Message(text=f"{subject.dataset}: drawing people"))
        tested, others = draw_people(subject, people or usual, seed=seed)
        out.append(
            run_experiment(
                base,
                get_task(subject.task),
                tested,
                others,
                make_experiment_config(subject, seed=seed, quick=True),
                work / subject.task,
                dataset=subject.dataset,
                listener=listener,
            )
        )
    return out
