"""Measures what a model is still good for: multiple-choice questions, and answers similar to the
former ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from idiolect.adapters.protocol import Adapter
from idiolect.errors import UsageError
from idiolect.inference.greedy import MODEL_ID, encode_plain_prompt, make_generator
from idiolect.models.base import Base
from idiolect.prompt_sets.corpora import MultipleChoiceQuestion
from idiolect.prompts.render import Example, PromptConfig, PromptRenderer
from idiolect.retrieval.dense import Encoder


def score_choices(
    base: Base,
    adapter: Adapter | None,
    choices: Sequence[MultipleChoiceQuestion],
    *,
    prompt: PromptConfig | None = None,
) -> tuple[bool, ...]:
    """Return whether the correct option is the most likely answer to each question, in order.

    An option's negative log-likelihood is divided by its length in characters (``acc_norm`` of the
    LM Evaluation Harness), so that short options have no advantage.
    """
    prompter = PromptRenderer(base.tokenizer, prompt)
    rows: list[tuple[str, Example]] = []
    lengths: list[int] = []
    # One row per option: the question, and the option as its answer.
    for one in choices:
        options = [prompter.encode_answer(option) for option in one.options]
        question = encode_plain_prompt(prompter, one.question, room=max(map(len, options)))
        rows += [(MODEL_ID, Example((*question, *option), len(question))) for option in options]
        lengths += [max(1, len(option)) for option in one.options]
    # All options of all questions in one call; the scores come back in the same order.
    found = make_generator(base, adapter).compute_likelihoods(rows)
    # Per character; ``nats`` below then holds the scores of one question's options.
    scores = iter(one.nll / length for one, length in zip(found, lengths, strict=True))
    out: list[bool] = []
    for one in choices:
        nats = [next(scores) for _ in one.options]
        out.append(nats.index(min(nats)) == one.answer)
    return tuple(out)


def compute_similarities(
    encoder: Encoder, answers: Sequence[str], before: Sequence[str]
) -> tuple[float, ...]:
    """Return the cosine similarity of each answer and the former one."""
    if len(answers) != len(before):
        raise UsageError(f"{len(answers)} answers and {len(before)} before: give the same number")
    if not answers:
        return ()
    a, b = (np.asarray(encoder(list(texts)), dtype=np.float64) for texts in (answers, before))
    return tuple(float(value) for value in (a * b).sum(axis=1))
