"""Answers many people's questions in batches, decoding as the task requires.

Combines tasks, prompt contexts and the generator; serving and evaluation both use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from idiolect.errors import NotFiniteError
from idiolect.history.interaction import Interaction
from idiolect.inference.generator import AnswerLikelihood, Generator, pick_median_choice
from idiolect.inference.people_stack import keep_results
from idiolect.prompts.context import PersonContext
from idiolect.tasks.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A query with the context of the person who asks it."""

    person: PersonContext
    query: Interaction


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedAnswer:
    """An answer, the probabilities of the choices, and the likelihood of the gold answer."""

    text: str
    prompt: str
    probabilities: tuple[float, ...] = ()
    gold: AnswerLikelihood | None = None


def answer_questions(
    generator: Generator, task: Task, questions: Sequence[Question], *, gold: bool = False
) -> list[DecodedAnswer]:
    """Answer all questions in the order given, by restricted choice or in free text as the task
    says. Raises NotFiniteError, with the answers to all other questions, if numbers of some people
    are not finite.

    With ``gold`` it also measures the likelihood of the known answers. All questions must use the
    same tokenizer and prompt settings.
    """
    if not questions:
        return []
    prompter = questions[0].person.prompter
    # Leave space for the longest choice, or for a free answer.
    choice_ids = [prompter.encode_answer(choice) for choice in task.choices]
    room = max(map(len, choice_ids)) if choice_ids else task.max_answer_tokens
    prompts = [
        (q.person.history.person, q.person.encode_query_prompt(q.query, reserve_tokens=room))
        for q in questions
    ]
    # Ordered choices with ``median`` decoding minimize the absolute error; others take the most
    # likely choice.
    reasons: dict[str, str] = {}
    found: list[tuple[float, ...] | None] = [()] * len(prompts)
    if task.choices:
        found = keep_results(lambda: generator.score_choices(prompts, choice_ids), reasons)
        texts = [_pick_choice(task, p) if p else None for p in found]
    else:
        texts = keep_results(
            lambda: generator.generate_greedy(prompts, max_tokens=task.max_answer_tokens), reasons
        )
    # Gold answers need forwards of their own, because the generated text may differ.
    likelihoods: list[AnswerLikelihood | None] = [None] * len(questions)
    if gold:
        likelihoods = _score_gold_answers(generator, questions, reasons)
    answers = [
        None
        if text is None or probabilities is None or question.person.history.person in reasons
        else DecodedAnswer(
            text=text,
            prompt=task.prompt(question.query).text,
            probabilities=probabilities,
            gold=likelihood,
        )
        for text, question, probabilities, likelihood in zip(
            texts, questions, found, likelihoods, strict=True
        )
    ]
    if reasons:
        raise NotFiniteError(reasons, answers)
    return [answer for answer in answers if answer is not None]


def _pick_choice(task: Task, probabilities: Sequence[float]) -> str:
    """Return the median or the most likely choice, as the task decodes."""
    if task.decode == "median":
        return task.choices[pick_median_choice(probabilities)]
    return task.choices[probabilities.index(max(probabilities))]


def _score_gold_answers(
    generator: Generator, questions: Sequence[Question], reasons: dict[str, str]
) -> list[AnswerLikelihood | None]:
    """Return the likelihood of each gold answer; None if the answer is unknown or too long.

    Reasons of rows that are not finite are added to ``reasons``.
    """
    examples = [q.person.build_query_example(q.query) for q in questions]
    # Score only questions with a known answer, and put the results back in order.
    known = [
        (n, (questions[n].person.history.person, e))
        for n, e in enumerate(examples)
        if e is not None
    ]
    out: list[AnswerLikelihood | None] = [None] * len(questions)
    likelihoods = keep_results(
        lambda: generator.compute_likelihoods([r for _, r in known]), reasons
    )
    for (n, _), found in zip(known, likelihoods, strict=True):
        out[n] = found
    return out
