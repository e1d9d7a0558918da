"""The scorecard's measurements: utility, relearning, quantization, sign flip, and membership."""

from __future__ import annotations

import contextlib

import pytest
import torch

from idiolect.adapters.lora import LoraAdapter, LoraConfig
from idiolect.errors import UsageError
from idiolect.inference.nll import compute_target_logits
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.prompt_sets.corpora import MultipleChoiceQuestion
from idiolect.prompts.batch import collate
from idiolect.prompts.render import Example, PromptRenderer
from idiolect.scorecard.leakage import compute_losses, measure_membership
from idiolect.scorecard.quantization import quantize_rows, temporarily_quantize
from idiolect.scorecard.relearning import RelearnConfig, measure_relearning
from idiolect.scorecard.sign_flip import flip_update
from idiolect.scorecard.utility import compute_similarities, score_choices
from idiolect.unlearning.examples import tokenize_pairs
from idiolect.unlearning.task_arithmetic import concat_scaled, merge_delta, scale_adapter
from idiolect.unlearning.trainee import WeightDelta
from support.tiny_people import random_adapter
from support.toy_judge import KeywordEncoder
from support.unlearning_sets import FORGET

LORA = LoraConfig(rank=2, alpha=4.0, targets=("q_proj", "v_proj"))


def tokenize_forget_set(base: Base) -> list[Example]:
    """Tokenize the forget set."""
    return [
        item.example
        for item in tokenize_pairs(PromptRenderer(base.tokenizer), FORGET, answer_tokens=40)
    ]


def compute_logits(base: Base, adapter: LoraAdapter | None) -> torch.Tensor:
    """Return the model's logits for the forget set's answers."""
    from idiolect.adapters.hooks import ActiveLora, activate_loras

    some = tokenize_forget_set(base)
    batch = collate(some, pad=base.pad_token_id, device=base.device)
    pairs = adapter.pairs if adapter else {}
    with (
        torch.no_grad(),
        activate_loras(
            base.model, [ActiveLora(pairs, adapter.config.scale if adapter else 1.0, 1.0)]
        ),
    ):
        return compute_target_logits(base.model, batch)


def test_score_choices_compares_nll_per_character() -> None:
    base = make_tiny_base()
    options = ("a", "the blue door", "bell")
    rights = [
        score_choices(
            base, None, [MultipleChoiceQuestion(question="Where?", options=options, answer=n)]
        )
        for n in range(3)
    ]
    assert sum(one == (True,) for one in rights) == 1
    prompter = PromptRenderer(base.tokenizer)
    from idiolect.inference.greedy import encode_plain_prompt

    asked = encode_plain_prompt(prompter, "Where?", room=0)
    rows = [Example((*asked, *prompter.encode_answer(o)), len(asked)) for o in options]
    nats = [x * e.num_targets for x, e in zip(compute_losses(base, None, rows), rows, strict=True)]
    per_character = [n / len(o) for n, o in zip(nats, options, strict=True)]
    assert rights[per_character.index(min(per_character))] == (True,)
    assert score_choices(base, None, ()) == ()


def test_compute_similarities_separates_equal_and_other_answers() -> None:
    same, other = compute_similarities(
        KeywordEncoder(), ["key key", "bread"], ["key key", "weather"]
    )
    assert same == pytest.approx(1) and other < 0.5
    with pytest.raises(UsageError, match="give the same number"):
        compute_similarities(KeywordEncoder(), ["a"], [])


def test_measure_relearning_starts_at_model_loss_and_decreases() -> None:
    base = make_tiny_base()
    some = tokenize_forget_set(base)
    config = RelearnConfig(after=(0, 1, 3, 8), rate=0.02, lora=LORA)
    curve = measure_relearning(base, None, some, config)
    # The first point is the model's own loss per token.
    own = compute_losses(base, None, some)
    tokens = [e.num_targets for e in some]
    mean = sum(x * t for x, t in zip(own, tokens, strict=True)) / sum(tokens)
    assert curve[0] == pytest.approx(mean, rel=1e-5)
    assert curve[-1] < curve[0]
    assert measure_relearning(base, None, some, config) == curve
    assert compute_losses(base, None, some) == own  # the model is unchanged
    adapter = random_adapter(base, 1, LORA, 0.1)
    assert measure_relearning(base, adapter, some, config)[0] == pytest.approx(
        sum(x * t for x, t in zip(compute_losses(base, adapter, some), tokens, strict=True))
        / sum(tokens),
        rel=1e-5,
    )
    with pytest.raises(UsageError, match="increasing"):
        RelearnConfig(after=(3, 1))


def test_quantize_rows_rounds_to_expected_values() -> None:
    weight = torch.tensor([[0.7, -0.3, 0.04, 0.0], [7.0, 3.4, -3.6, 1.0]])
    three = quantize_rows(weight, 4)  # step sizes 0.1 and 1
    expected = torch.tensor([[0.7, -0.3, 0.0, 0.0], [7.0, 3.0, -4.0, 1.0]])
    torch.testing.assert_close(three, expected)
    grouped = quantize_rows(weight, 4, group=2)  # step sizes 0.1, then 0.04 / 7 ...
    torch.testing.assert_close(grouped[0], torch.tensor([0.7, -0.3, 0.04, 0.0]))
    assert (quantize_rows(torch.zeros(2, 4), 8) == 0).all()
    for bits, group, words in ((1, None, "bits"), (4, 3, "group"), (4, 0, "group")):
        with pytest.raises(UsageError, match=words):
            quantize_rows(weight, bits, group=group)


def test_temporarily_quantize_restores_weights_and_skips_head() -> None:
    base = make_tiny_base()
    before = {name: p.detach().clone() for name, p in base.model.named_parameters()}
    plain = compute_logits(base, None)
    with contextlib.suppress(RuntimeError), temporarily_quantize(base, 4) as fewer:
        assert fewer is base
        changed = {n for n, p in base.model.named_parameters() if not torch.equal(p, before[n])}
        assert all("_proj" in name for name in changed) and len(changed) == 14
        assert not torch.equal(compute_logits(base, None), plain)
        raise RuntimeError("inside")
    torch.testing.assert_close(compute_logits(base, None), plain, rtol=0, atol=0)


def test_flip_update_mirrors_the_update() -> None:
    base = make_tiny_base()
    personal, delta = random_adapter(base, 1, LORA, 0.1), random_adapter(base, 2, LORA, 0.1)
    # A base with a LoRA delta.
    torch.testing.assert_close(
        compute_logits(*flip_update(base, None, base, delta)),
        compute_logits(base, scale_adapter(delta, -1.0)),
    )
    # A person's adapter with a delta on top.
    new = concat_scaled(personal, delta, -0.5)
    expected = concat_scaled(personal, delta, 0.5)
    other = flip_update(base, personal, base, new)
    torch.testing.assert_close(
        compute_logits(*other), compute_logits(base, expected), rtol=1e-4, atol=1e-4
    )
    # All weights.
    moved = {n: 0.01 * torch.ones_like(p) for n, p in base.model.named_parameters()}
    full = WeightDelta(base=base.identity, tensors=moved)
    flipped_base, none = flip_update(base, None, merge_delta(base, full, 1.0), None)
    assert none is None
    torch.testing.assert_close(
        compute_logits(flipped_base, None),
        compute_logits(merge_delta(base, full, -1.0), None),
        rtol=1e-3,
        atol=1e-4,
    )


def test_measure_membership_detects_trained_examples() -> None:
    base = make_tiny_base()
    some = tokenize_forget_set(base)
    texts = [f"Who has the lamp of {n}?" for n in range(5)]
    from idiolect.prompt_sets.pairs import Pair

    more = [Pair(prompt=t, response="Nobody knows.") for t in texts]
    others = [
        i.example for i in tokenize_pairs(PromptRenderer(base.tokenizer), more, answer_tokens=40)
    ]
    before = compute_losses(base, None, [*some, *others])
    nothing = measure_membership(base, None, some, others, before)
    assert nothing.calibrated is not None and nothing.calibrated.auc == 0.5
    from idiolect.unlearning.trainee import LoraModel, ModelLosses

    # Gradient ascent makes the examples less likely than new ones.
    trainee = LoraModel(base, None, LORA, seed=0)
    optimizer = torch.optim.Adam(trainee.trainable_weights, lr=0.05)
    for _ in range(6):
        optimizer.zero_grad()
        (-ModelLosses(base, trainee).compute_nll(some).mean()).backward()
        optimizer.step()
    found = measure_membership(base, trainee.export_delta(), some, others, before)
    assert found.calibrated is not None
    assert found.calibrated.auc < 0.5 < found.calibrated.two_sided  # it overshot, which reveals it
