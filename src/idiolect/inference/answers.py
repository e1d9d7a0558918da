"""From a question to an answer: the task's way of decoding, over many people's questions at once.

Joins tasks, contexts and the generator; used for serving and for evaluation alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from idiolect.history.interaction import Interaction
from idiolect.inference.generator import AnswerLikelihood, Generator, pick_median_choice
from idiolect.prompts.context import PersonContext
from idiolect.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One query of one person, with everything it may see."""

    person: PersonContext
    query: Interaction


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedAnswer:
    """What came out: the answer, and how likely choices and gold were."""

    text: str
    prompt: str
    probabilities: tuple[float, ...] = ()
    gold: AnswerLikelihood | None = None


def answer_questions(
    generator: Generator, task: Task, questions: Sequence[Question], *, gold: bool = False
) -> list[DecodedAnswer]:
    """Answer every question, by choice or in free text as the task says; in the order given.

    With ``gold`` the likelihood of the known answers is measured too.
    """
    if not questions:
        return []
    prompter = questions[0].person.prompter
    choice_ids = [prompter.encode_answer(choice) for choice in task.choices]
    room = max(map(len, choice_ids)) if choice_ids else task.max_answer_tokens
    prompts = [
        (q.person.history.person, q.person.encode_query_prompt(q.query, room=room))
        for q in questions
    ]
    if task.choices:
        found = generator.score_choices(prompts, choice_ids)
        places = [
            pick_median_choice(p) if task.decode == "median" else p.index(max(p)) for p in found
        ]
        texts = [task.choices[place] for place in places]
    else:
        found = [()] * len(prompts)
        texts = generator.generate_greedy(prompts, max_tokens=task.max_answer_tokens)
    likelihoods = _score_gold_answers(generator, questions) if gold else [None] * len(questions)
    return [
        DecodedAnswer(
            text=text,
            prompt=task.prompt(question.query).text,
            probabilities=probabilities,
            gold=likelihood,
        )
        for text, question, probabilities, likelihood in zip(
            texts, questions, found, likelihoods, strict=True
        )
    ]


def _score_gold_answers(
    generator: Generator, questions: Sequence[Question]
) -> list[AnswerLikelihood | None]:
    """The likelihood of each gold answer, ``None`` where it is unknown or too long."""
    examples = [q.person.build_query_example(q.query) for q in questions]
    known = [
        (n, (questions[n].person.history.person, e))
        for n, e in enumerate(examples)
        if e is not None
    ]
    out: list[AnswerLikelihood | None] = [None] * len(questions)
    for (n, _), found in zip(
        known, generator.compute_likelihoods([r for _, r in known]), strict=True
    ):
        out[n] = found
    return out
