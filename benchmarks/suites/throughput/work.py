"""The training data: real people's examples, or random ones of a given size.

All methods get the same examples, as plain JSON, which a process without Idiolect can read.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idiolect.config import derive_seed
from idiolect.errors import UsageError
from idiolect.evaluation.demo import CHATS, FILMS, draw_people
from idiolect.history.history import History
from idiolect.importers.registry import import_histories
from idiolect.models.base import Base
from idiolect.prompts.context import ContextConfig, PersonContext
from idiolect.prompts.render import Example, PromptConfig, PromptRenderer
from idiolect.tasks.registry import get_task
from idiolect.training.jobs import TrainingJob

SEED = 0
HELD_OUT = 8
"""Last items of each person that no method trains on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingWork:
    """One task's training jobs and held-out examples."""

    task: str
    jobs: tuple[TrainingJob, ...]
    held_out: Mapping[str, tuple[Example, ...]]

    @property
    def examples(self) -> tuple[Example, ...]:
        """The training examples of all people."""
        return tuple(e for job in self.jobs for e in job.examples)

    @property
    def token_count(self) -> int:
        """Tokens of one epoch, without padding."""
        return sum(len(e.ids) for e in self.examples)

    @property
    def target_count(self) -> int:
        """Target tokens of one epoch."""
        return sum(e.num_targets for e in self.examples)

    def take_people(self, people: int) -> TrainingWork:
        """Return the work of the first ``people`` people; of all for 0."""
        jobs = self.jobs[: people or None]
        return TrainingWork(
            task=self.task,
            jobs=jobs,
            held_out={job.person: self.held_out[job.person] for job in jobs},
        )

    def take_first_step(self, batch: int) -> TrainingWork:
        """Return one batch of the first person, to warm up a method."""
        job = self.jobs[0]
        return TrainingWork(
            task=self.task,
            jobs=(TrainingJob(person=job.person, examples=job.examples[:batch]),),
            held_out={},
        )

    def to_plain(self) -> dict[str, Any]:
        """Return JSON data; an example is [token ids, start of the answer]."""
        return {
            "task": self.task,
            "people": [
                {
                    "person": job.person,
                    "train": [[list(e.ids), e.answer_start] for e in job.examples],
                    "held_out": [[list(e.ids), e.answer_start] for e in self.held_out[job.person]],
                }
                for job in self.jobs
            ],
        }

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> TrainingWork:
        """Return the work from the data of ``to_plain``."""

        def parse_examples(pairs: Sequence[Any]) -> tuple[Example, ...]:
            return tuple(Example(tuple(ids), start) for ids, start in pairs)

        people = data["people"]
        return cls(
            task=data["task"],
            jobs=tuple(
                TrainingJob(person=p["person"], examples=parse_examples(p["train"])) for p in people
            ),
            held_out={p["person"]: parse_examples(p["held_out"]) for p in people},
        )


def load_real_work(
    base: Base, task: str, *, people: int, items: int, scholarly: Path | None = None
) -> TrainingWork:
    """Return real people's last items: ``items`` to train on, then ``HELD_OUT`` held out.

    Tasks: ``rating`` (MovieLens), ``reply`` (chats), ``lamp-5`` (titles of papers, from the folder
    of an OPPU release). Raises UsageError if there are too few people.
    """
    last = items + HELD_OUT
    prompt = PromptConfig()
    if task == "lamp-5":
        if scholarly is None:
            raise UsageError("lamp-5: give the folder of an OPPU release with --scholarly")
        imported = import_histories(scholarly, format="oppu")
        able = [h for h in imported.histories if imported.splits[h.person] == "test"]
        able = [h.take_last(last) for h in able if len(h.items) >= last]
        if len(able) < people:
            raise UsageError(
                f"--people {people}: {scholarly} has only {len(able)} with {last} items"
            )
        random.Random(derive_seed(SEED, task, "people")).shuffle(able)
        histories, prompt = able[:people], PromptConfig(field_words=96, memory_words=36)
    else:
        subject = FILMS if task == "rating" else CHATS
        histories, _ = draw_people(subject, people, seed=SEED, last=last)
    # The last HELD_OUT examples of each person are held out.
    examples = {
        h.person: _build_examples(h, task, PromptRenderer(base.tokenizer, prompt))
        for h in histories
    }
    return TrainingWork(
        task=task,
        jobs=tuple(
            TrainingJob(person=person, examples=theirs[:-HELD_OUT])
            for person, theirs in examples.items()
        ),
        held_out={person: theirs[-HELD_OUT:] for person, theirs in examples.items()},
    )


def _build_examples(history: History, task: str, prompter: PromptRenderer) -> tuple[Example, ...]:
    person = PersonContext(history, get_task(task), prompter, ContextConfig())
    found = (person.build_item_example(place) for place in range(len(history.items)))
    return tuple(e for e in found if e is not None)


def make_random_work(
    name: str, *, people: int, items: int, tokens: int, words: int
) -> TrainingWork:
    """Return seeded random tokens below ``words``, to measure speed only.

    A tenth of each example's ``tokens`` is its answer; one more item per person is held out.
    """

    def make_example(person: int, item: int) -> Example:
        draw = random.Random(derive_seed(SEED, name, person, item))
        ids = tuple(draw.randrange(words) for _ in range(tokens))
        return Example(ids, tokens - max(1, tokens // 10))

    made = {f"p{p}": tuple(make_example(p, i) for i in range(items + 1)) for p in range(people)}
    return TrainingWork(
        task=name,
        jobs=tuple(
            TrainingJob(person=person, examples=theirs[:-1]) for person, theirs in made.items()
        ),
        held_out={person: theirs[-1:] for person, theirs in made.items()},
    )
