"""The methods' losses against values computed by hand; sampling of batches; answer masks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from idiolect.errors import UsageError
from idiolect.models.tiny import make_byte_tokenizer, make_tiny_base
from idiolect.prompt_sets.pairs import Pair
from idiolect.prompts.render import Example, PromptConfig, PromptRenderer
from idiolect.unlearning.examples import (
    ForgetRetainSets,
    StepBatch,
    TokenizedPair,
    pair_from_example,
    tokenize_pairs,
)
from idiolect.unlearning.methods.finetune import FineTune
from idiolect.unlearning.methods.ga_mismatch import GradientAscentMismatch
from idiolect.unlearning.methods.gradient_ascent import GradientAscent
from idiolect.unlearning.methods.npo import Npo
from idiolect.unlearning.methods.protocol import UnlearningMethod
from idiolect.unlearning.methods.registry import METHOD_NAMES, MethodSettings
from idiolect.unlearning.methods.sku import Sku
from idiolect.unlearning.methods.task_vector import TaskVector
from idiolect.unlearning.trainee import LoraModel, ModelLosses
from support.unlearning_sets import FORGET, LORA, RETAIN

SETS = ForgetRetainSets(
    forget=(
        TokenizedPair((1, 2), (10,), "a"),
        TokenizedPair((1, 2), (11, 11), "a"),
        TokenizedPair((3,), (12,), "b"),
        TokenizedPair((4,), (13,), "c"),
        TokenizedPair((5,), (10,), "d"),  # the same answer to another prompt
    ),
    retain=(TokenizedPair((6,), (20,), "x"), TokenizedPair((7,), (21,), "y")),
)
BATCH = StepBatch(sets=SETS, forget_indices=(0, 1), retain_indices=(1,), seed=3, step=0)


class FixedLosses:
    """A model that returns given losses, and records which ones are computed."""

    def __init__(self, now: Mapping[Example, float], before: float = 0, moved: float = 0) -> None:
        self.now, self.before, self.moved = now, before, moved
        self.calls: list[str] = []

    def compute_nll(self, examples: Sequence[Example]) -> Tensor:
        self.calls.append("nll")
        return torch.tensor([self.now.get(example, 0.5) for example in examples])

    def compute_initial_nll(self, examples: Sequence[Example]) -> Tensor:
        self.calls.append("before")
        return torch.full((len(examples),), self.before)

    def compute_kl(self, examples: Sequence[Example]) -> Tensor:
        self.calls.append("divergence")
        return torch.full((len(examples),), self.moved)


FIRST, SECOND = SETS.forget[0].example, SETS.forget[1].example
KEPT = SETS.retain[1].example
NLL = {FIRST: 2.0, SECOND: 4.0, KEPT: 7.0}


def compute_terms(
    method: UnlearningMethod, model: FixedLosses, batch: StepBatch = BATCH
) -> dict[str, float]:
    return {name: float(term) for name, term in method.iter_loss_terms(model, batch)}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (TaskVector(), {"guided": 3.0}),
        (FineTune(), {"retain": 7.0}),
        (GradientAscent(), {"ascent": -3.0}),
        (GradientAscentMismatch(ascent=0.5), {"ascent": -1.5, "mismatch": 0.5, "retain": 9.0}),
        (GradientAscentMismatch(ascent=0, mismatch=0, retain=2), {"retain": 18.0}),
        (
            Sku(e1=2, e3=1, divergence="away"),
            {"guided": 6.0, "random": 0.5, "preserve": -2.0},
        ),  # capped at 2 nats
        (Sku(e2=0, e3=1, cap=100, divergence="away"), {"guided": 3.0, "preserve": -9.0}),
        (Sku(e1=0, e3=0.5), {"random": 0.5, "preserve": 4.5}),
        (Sku(e3=0, e2=4), {"guided": 3.0, "random": 2.0}),
    ],
)
def test_methods_compute_expected_loss_terms(
    method: UnlearningMethod, expected: dict[str, float]
) -> None:
    assert compute_terms(method, FixedLosses(NLL, moved=9.0)) == pytest.approx(expected)


def test_npo_computes_expected_loss() -> None:
    """Whole answers: one token of 2 nats, and two of 4; both had 1 nat per token before."""
    found = compute_terms(Npo(beta=0.5), FixedLosses(NLL, before=1.0))
    ratios = (1 * (1 - 2), 2 * (1 - 4))
    npo = sum(2 / 0.5 * math.log(1 + math.exp(0.5 * ratio)) for ratio in ratios) / 2
    assert found == pytest.approx({"npo": npo, "retain": 7.0})
    unmoved = compute_terms(Npo(retain=0), FixedLosses({}, before=0.5))
    assert unmoved == pytest.approx({"npo": 2 / 0.1 * math.log(2)})


def test_methods_skip_zero_weights_and_reject_invalid_ones() -> None:
    model = FixedLosses(NLL)
    compute_terms(Sku(e2=0, e3=0), model)
    assert model.calls == ["nll"]
    # Invalid settings.
    wrong: list[Callable[[], UnlearningMethod]] = [
        lambda: Sku(e1=-1),
        lambda: Sku(e1=0, e2=0, e3=0),
        lambda: Sku(others=0),
        lambda: Sku(cap=0),
        lambda: Npo(beta=-1),
        lambda: Npo(retain=-1),
        lambda: GradientAscentMismatch(ascent=-1),
        lambda: GradientAscentMismatch(ascent=0, mismatch=0, retain=0),
    ]
    for make in wrong:
        with pytest.raises(UsageError, match=r"sku|npo\.|ga_mismatch"):
            make()


def test_sku_caps_divergence_per_example() -> None:
    """With KL of 1 and 5 nats and a cap of 2, the first counts in full and the second as 2."""
    moved = torch.tensor([1.0, 5.0], requires_grad=True)

    class MovedModel(FixedLosses):
        def compute_kl(self, examples: Sequence[Example]) -> Tensor:
            return moved

    batch = replace(BATCH, retain_indices=(0, 1))
    ((_, term),) = Sku(e1=0, e2=0, e3=1, divergence="away").iter_loss_terms(MovedModel({}), batch)
    term.backward()
    assert float(term.detach()) == -1.5
    assert moved.grad is not None and moved.grad.tolist() == [-0.5, 0.0]


def test_sample_disassociated_uses_seeded_answers_to_other_prompts() -> None:
    """Prompt a has the answers 10 and 11, so it only gets 12 and 13, even though 10 also answers
    another prompt. The prompt and the start of the answer stay the same."""
    drawn = BATCH.sample_disassociated(5)
    assert (
        sorted(e.ids[2:] for e in drawn[:2])
        == sorted(e.ids[2:] for e in drawn[2:])
        == [
            (12,),
            (13,),
        ]
    )
    assert all(e.ids[:2] == (1, 2) and e.answer_start == 2 for e in drawn)
    d = replace(BATCH, forget_indices=(4,), step=1)
    assert {e.ids[1:] for e in d.sample_disassociated(9)} == {(11, 11), (12,), (13,)}
    several = [
        replace(BATCH, forget_indices=(2,), step=step).sample_disassociated(1) for step in range(20)
    ]
    assert len({e.ids for (e,) in several}) > 1  # sampled again in each step
    assert several == [
        replace(BATCH, forget_indices=(2,), step=step).sample_disassociated(1) for step in range(20)
    ]
    alone = replace(BATCH, sets=ForgetRetainSets(SETS.forget[:2], SETS.retain))
    with pytest.raises(UsageError, match=r"sku\.e2=0"):
        alone.sample_disassociated(1)


def test_sample_mismatched_uses_retain_answers() -> None:
    found = {e for step in range(9) for e in replace(BATCH, step=step).sample_mismatched()}
    assert {e.ids[:2] for e in found} == {(1, 2)}
    assert {e.ids[2:] for e in found} == {(20,), (21,)}


@pytest.mark.parametrize("chat", [True, False])
def test_tokenize_pairs_separates_prompt_and_answer(chat: bool) -> None:
    """With and without a chat template, the targets are the answer's tokens and the end token, and
    any answer can follow any prompt."""
    tokenizer = make_byte_tokenizer()
    if not chat:
        tokenizer.chat_template = None
    items = tokenize_pairs(PromptRenderer(tokenizer), FORGET, answer_tokens=64)
    for item, pair in zip(items, FORGET, strict=True):
        for of, answer in ((item, pair.response), (items[-1], FORGET[-1].response)):
            example = item.with_answer(of.answer)
            said = tokenizer.decode(list(example.ids[example.answer_start :]))
            assert said == ("" if chat else " ") + answer + "</s>"
            asked = tokenizer.decode(list(example.ids[: example.answer_start]))
            assert pair.prompt in asked and "It is" not in asked
    assert items[0].key == items[1].key != items[2].key
    assert pair_from_example(items[0].example).example == items[0].example


def test_tokenize_pairs_truncates_answers_and_prompts_to_fit() -> None:
    prompter = PromptRenderer(make_byte_tokenizer(), PromptConfig(max_tokens=60))
    pairs = [Pair(prompt="why " * 90, response="so " * 90), FORGET[0]]
    long, short = tokenize_pairs(prompter, pairs, answer_tokens=12)
    assert len(long.answer) == 12 == len(short.answer) and prompter.eos_token_id not in long.answer
    assert (
        max(len(long.with_answer(short.answer).ids), len(short.with_answer(long.answer).ids)) == 60
    )
    with pytest.raises(UsageError, match=r"prompt\.max_tokens: 60 leaves no space"):
        tokenize_pairs(prompter, pairs, answer_tokens=55)


def test_model_losses_average_over_answer_tokens() -> None:
    """Compared with the whole model's logits, one example at a time: other examples of the batch,
    padding, and prompt tokens do not count."""
    base = make_tiny_base()
    losses = ModelLosses(base, LoraModel(base, None, LORA, seed=0))
    items = tokenize_pairs(PromptRenderer(base.tokenizer), [*FORGET, *RETAIN], answer_tokens=64)
    examples = [item.example for item in items]
    by_hand: list[float] = []
    for example in examples:
        ids = torch.tensor([example.ids])
        scores = torch.log_softmax(base.model(input_ids=ids).logits[0].double(), -1)
        positions = range(example.answer_start, len(example.ids))
        found = [-float(scores[at - 1, example.ids[at]]) for at in positions]
        by_hand.append(sum(found) / len(found))
    assert losses.compute_nll(examples).tolist() == pytest.approx(by_hand, rel=1e-5)
    assert losses.compute_nll(examples[::-1]).tolist() == pytest.approx(by_hand[::-1], rel=1e-5)
    assert losses.compute_initial_nll(examples).tolist() == pytest.approx(by_hand, rel=1e-5)


def test_model_losses_compute_expected_kl() -> None:
    """KL(before || now) at the positions that predict the answer."""
    base = make_tiny_base()
    trainee = LoraModel(base, None, LORA, seed=0)
    losses = ModelLosses(base, trainee)
    examples = [
        i.example
        for i in tokenize_pairs(PromptRenderer(base.tokenizer), RETAIN[:2], answer_tokens=9)
    ]
    assert losses.compute_kl(examples).tolist() == pytest.approx([0, 0], abs=1e-6)
    with torch.no_grad():
        for _, b in trainee.pairs.values():
            b += 0.1
    example = examples[1]
    ids = torch.tensor([example.ids])
    with trainee.use_initial_model(examples) as model:
        old = torch.log_softmax(model(input_ids=ids).logits[0].double(), -1)
    with trainee.use_current_model(examples) as model:
        new = torch.log_softmax(model(input_ids=ids).logits[0].double(), -1)
    at = slice(example.answer_start - 1, len(example.ids) - 1)
    expected = float((old.exp() * (old - new)).sum(-1)[at].mean().detach())
    assert losses.compute_kl(examples).tolist()[1] == pytest.approx(expected, rel=1e-4)
    assert expected > 0.01


def test_method_settings_find_methods_by_name() -> None:
    assert METHOD_NAMES == ("sku", "ft", "ga", "ga-mismatch", "task-vector", "npo")
    assert MethodSettings(npo=Npo(beta=1)).get_method("npo") == Npo(beta=1)
    with pytest.raises(UsageError, match="unknown method 'skU'; known: sku, ft"):
        MethodSettings().get_method("skU")
