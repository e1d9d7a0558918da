"""The demo: imports two real datasets, adapts, trains and compares; minutes on two CPU cores."""

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
"""Number of items that are kept of each tested person, the last ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoTask:
    """One real dataset of the demo and of the benchmarks, and the size of testable histories."""

    format: str
    task: str
    dataset: str
    min_items: int
    max_items: int
    """A testable person has ``min_items`` to ``max_items`` items."""


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
    """Draw ``count`` people to test; return their histories and those of all other people.

    The tested histories are cut to their ``last`` items (0 keeps all). The two purposes draw from
    disjoint halves of the people, so that defaults that were tuned on one half ("development") are
    always tested on the other ("tested"). Raises UsageError if there are fewer testable people
    than ``count``.
    """
    # The datasets are in installed packages, so nothing is downloaded.
    histories = list(import_histories(format=subject.format).histories)
    # A hash of the person decides the half, so that it does not depend on the seed of the draw.
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
    """Return the settings for one dataset; ``quick`` gives the size of the demo."""
    personal = PersonalConfig(train=TrainConfig(seed=seed))
    evaluate = EvaluateConfig(methods=("base", "oppu", "rag"), personal=personal, queries=10)
    adapting = AdaptConfig()
    rated = subject.task == "rating"
    # 0 means all items. Ratings of one film by many people share one prompt, so all items cost
    # about as much as a sample of them.
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
    """Run both experiments; ``people`` is the number of tested people of each (default 8 and 4)."""
    out: list[Comparison] = []
    for subject, usual in ((FILMS, NUM_RATERS), (CHATS, NUM_CHATTERS)):
        listener(Message(text=f"{subject.dataset}: importing and drawing people"))
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
