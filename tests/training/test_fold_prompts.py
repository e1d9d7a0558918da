"""Folding of equal prompts: the loss and gradient equal those of the separate examples."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from idiolect.adapters.lora import LoraConfig, init_lora
from idiolect.adapters.stacks.lora import LoraStack
from idiolect.inference.nll import compute_target_nll
from idiolect.prompts.batch import collate
from idiolect.prompts.render import Example
from idiolect.training.fold_prompts import fold_equal_prompts
from support.job_strategies import make_exact_base

BASE = make_exact_base()
END = 7
PROMPTS = ((1, 2, 3), (4, 5, 6, 8), (9, 10, 11))


def compute_loss_and_gradient(
    examples: list[Example] | tuple[Example, ...],
) -> tuple[float, Tensor]:
    """Compute the summed loss of all answers, and its gradient [P] in an adapter."""
    stack = LoraStack(BASE, LoraConfig(rank=2), 1).train()
    start = init_lora(BASE, LoraConfig(rank=2), seed=1, person="p")
    stack.load_slot(0, start)
    stack.weights.detach().add_(0.05)
    batch = collate(examples, pad=BASE.pad_token_id, device=BASE.device)
    with stack.activate(torch.zeros(len(examples), dtype=torch.long)):
        loss = (compute_target_nll(BASE.model, batch) * batch.count).sum()
    stack.backward(loss)
    assert stack.grads is not None
    return float(loss.detach()), stack.grads[0]


answers = st.lists(st.tuples(st.sampled_from(PROMPTS), st.integers(20, 24)), min_size=1, max_size=9)


@settings(max_examples=25)
@given(given_answers=answers)
def test_fold_equal_prompts_with_one_token_answers_keeps_loss_and_gradient(
    given_answers: list[tuple[tuple[int, ...], int]],
) -> None:
    examples = [Example((*prompt, token), len(prompt)) for prompt, token in given_answers]
    merged = fold_equal_prompts(examples)
    assert len(merged) == len({prompt for prompt, _ in given_answers})
    assert sum(e.num_targets for e in merged) == sum(e.num_targets for e in examples)
    (loss, gradient), (whole, expected) = (
        compute_loss_and_gradient(merged),
        compute_loss_and_gradient(examples),
    )
    assert abs(loss - whole) <= 1e-12 * whole
    assert torch.linalg.norm(gradient - expected) <= 1e-12 * torch.linalg.norm(expected)


@settings(max_examples=25)
@given(given_answers=answers)
def test_fold_equal_prompts_learns_end_mark_after_most_frequent_answer(
    given_answers: list[tuple[tuple[int, ...], int]],
) -> None:
    """Exact for the answers; the end mark follows the most frequent answer, counted for all
    answers."""
    examples = [Example((*prompt, token, END), len(prompt)) for prompt, token in given_answers]
    merged = fold_equal_prompts(examples)
    assert sum(e.num_targets for e in merged) == sum(e.num_targets for e in examples)
    answers_only = [Example(e.ids[:-1], e.answer_start) for e in examples]
    # The loss splits into the answers (exact) and the end marks after the most frequent answer.
    marks: list[Example] = []
    for example in merged:
        counts = dict(example.label_counts)
        commonest = example.ids[example.answer_start]
        assert not counts or counts[commonest] == max(counts.values())
        marks += [Example(example.ids, example.answer_start + 1)] * example.num_answers
    loss, gradient = compute_loss_and_gradient(merged)
    parts = compute_loss_and_gradient(answers_only), compute_loss_and_gradient(marks)
    assert abs(loss - parts[0][0] - parts[1][0]) <= 1e-12 * loss
    expected = parts[0][1] + parts[1][1]
    assert torch.linalg.norm(gradient - expected) <= 1e-12 * torch.linalg.norm(expected)


def test_fold_equal_prompts_with_equal_answers_keeps_loss_with_end_mark() -> None:
    examples = [Example((1, 2, 3, 20, END), 3)] * 4
    (merged,) = fold_equal_prompts(examples)
    assert merged.label_counts == ((20, 4),)
    assert (
        abs(compute_loss_and_gradient([merged])[0] - compute_loss_and_gradient(examples)[0])
        <= 1e-12
    )


def test_fold_equal_prompts_leaves_other_examples_unchanged() -> None:
    long = [Example((1, 2, 3, 20, 21, END), 3), Example((1, 2, 3, 22, 23, END), 3)]
    uneven = [Example((1, 2, 3, 20), 3), Example((1, 2, 3, 20, END), 3)]
    split_elsewhere = [Example((1, 2, 3, 20), 2), Example((1, 2, 3, 20), 3)]
    counted = [Example((1, 2, 3, 20), 3, ((20, 2), (21, 1))), Example((1, 2, 3, 20), 3)]
    for examples in (long, uneven, split_elsewhere, counted):
        assert fold_equal_prompts(examples) == tuple(examples)
    assert fold_equal_prompts([]) == ()
