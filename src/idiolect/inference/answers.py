"""From a question to an answer: the task's way of decoding, over many people's questions at once.

Joins tasks, contexts and the generator; used for serving and for evaluation alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from idiolect.history.interaction import Interaction
from idiolect.inference.generator import Generator, Likelihood, median_choice
from idiolect.prompts.context import Person
from idiolect.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One query of one person, with everything it may see."""

    person: Person
    query: Interaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came out: the answer, and how likely choices and gold were."""

    text: str
    prompt: str
    probabilities: tuple[float, ...] = ()
    gold: Likelihood | None = None


def answer(
    generator: Generator, task: Task, questions: Sequence[Question], *, gold: bool = False
) -> list[Answered]:
    """Answer every question, by choice or in free text as the task says; in the order given.

    With ``gold`` the likelihood of the known answers is measured too.
    """
    if not questions:
        return []
    prompter = questions[0].person.prompter
    choice_ids = [prompter.answer_ids(choice) for choice in task.choices]
    room = max(map(len, choice_ids)) if choice_ids else task.max_answer_tokens
    prompts = [
        (q.person.history.person, q.person.query_prompt(q.query, room=room)) for q in questions
    ]
    if task.choices:
        found = generator.choices(prompts, choice_ids)
        places = [median_choice(p) if task.decode == "median" else p.index(max(p)) for p in found]
        texts = [task.choices[place] for place in places]
    else:
        found = [()] * len(prompts)
        texts = generator.texts(prompts, max_tokens=task.max_answer_tokens)
    likelihoods = _gold_likelihoods(generator, questions) if gold else [None] * len(questions)
    return [
        Answered(
            text=text,
            prompt=task.prompt(question.query).text,
            probabilities=probabilities,
            gold=likelihood,
        )
        for text, question, probabilities, likelihood in zip(
            texts, questions, found, likelihoods, strict=True
        )
    ]


def _gold_likelihoods(
    generator: Generator, questions: Sequence[Question]
) -> list[Likelihood | None]:
    """The likelihood of each gold answer, ``None`` where it is unknown or too long."""
    examples = [q.person.query_example(q.query) for q in questions]
    known = [
        (n, (questions[n].person.history.person, e))
        for n, e in enumerate(examples)
        if e is not None
    ]
    out: list[Likelihood | None] = [None] * len(questions)
    for (n, _), found in zip(known, generator.likelihoods([r for _, r in known]), strict=True):
        out[n] = found
    return out
