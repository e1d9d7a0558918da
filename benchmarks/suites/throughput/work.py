"""Who is trained and on what: real people's examples, or made-up ones of a given shape.

Every method gets these very examples. They travel to the methods' processes as plain JSON, which a
process without Idiolect reads as well.
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
"""Last items of each person that nobody trains on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingWork:
    """One task's people: what they are trained on, and what is held out."""

    task: str
    jobs: tuple[TrainingJob, ...]
    held_out: Mapping[str, tuple[Example, ...]]

    @property
    def examples(self) -> tuple[Example, ...]:
        """Everybody's training examples."""
        return tuple(e for job in self.jobs for e in job.examples)

    @property
    def token_count(self) -> int:
        """Tokens of one epoch, padding not counted."""
        return sum(len(e.ids) for e in self.examples)

    @property
    def target_count(self) -> int:
        """Target tokens of one epoch."""
        return sum(e.num_targets for e in self.examples)

    def take_people(self, people: int) -> TrainingWork:
        """The first so many people alone; all for 0."""
        jobs = self.jobs[: people or None]
        return TrainingWork(
            task=self.task,
            jobs=jobs,
            held_out={job.person: self.held_out[job.person] for job in jobs},
        )

    def take_first_step(self, batch: int) -> TrainingWork:
        """One batch of the first person: enough to warm a method up."""
        job = self.jobs[0]
        return TrainingWork(
            task=self.task,
            jobs=(TrainingJob(person=job.person, examples=job.examples[:batch]),),
            held_out={},
        )

    def to_plain(self) -> dict[str, Any]:
        """As JSON data: an example is [token ids, where the answer starts]."""
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
        """The inverse of ``to_plain``."""

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
    """Real people's last items: ``items`` to train on, then ``HELD_OUT`` held out.

    Tasks: ``rating`` (MovieLens), ``reply`` (chats), ``lamp-5`` (titles of papers, from the folder
    of an OPPU release). Raises UsageError where there are not so many people.
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
            raise UsageError(f"--people {people}: {scholarly} has {len(able)} with {last} items")
        random.Random(derive_seed(SEED, task, "people")).shuffle(able)
        histories, prompt = able[:people], PromptConfig(field_words=96, memory_words=36)
    else:
        subject = FILMS if task == "rating" else CHATS
        histories, _ = draw_people(subject, people, seed=SEED, last=last)
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
    """Seeded random tokens below ``words``: speed alone, nothing to learn from.

    A tenth of each example's ``tokens`` are its answer; one more item a person is held out.
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
