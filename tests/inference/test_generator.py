"""The answers of many people in one batch equal each person's own, computed in a simple way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.lora import LoraAdapter, LoraConfig, merge_weight
from idiolect.inference.generator import Generator, pick_median_choice
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.chat_template import encode_invocation
from idiolect.prompts.render import Example
from support.tiny_people import random_adapter

UNKNOWN = "stranger"
PEOPLE = ("ann", "bob", UNKNOWN)
PROMPTS = (
    ("ann", (70, 71, 72, 73)),
    (UNKNOWN, (70, 71, 72, 73)),
    ("bob", (70, 71, 72, 73)),
    ("ann", tuple(range(60, 95))),
    ("bob", (80,)),
)


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


@pytest.fixture(scope="module")
def adapters(base: Base) -> dict[str, LoraAdapter]:
    return {"ann": random_adapter(base, 1, size=1.0), "bob": random_adapter(base, 2, size=1.0)}


@pytest.fixture(scope="module")
def merged_models(adapters: dict[str, LoraAdapter]) -> dict[str, Base]:
    """Each person's own model, with the adapter merged in."""
    out = {person: make_tiny_base() for person in PEOPLE}
    for person, adapter in adapters.items():
        for path, (a, b) in adapter.pairs.items():
            weight = out[person].model.get_submodule(path).weight
            weight.data = merge_weight(weight.data, a, b, adapter.config.scale)
    return out


@torch.no_grad()
def compute_naive_nll(model: Base, ids: Sequence[int], start: int) -> float:
    """Return the negative log likelihood of ``ids[start:]``, computed one token at a time."""
    total = 0.0
    for place in range(start, len(ids)):
        logits = model.model(input_ids=torch.tensor([ids[:place]])).logits[0, -1]
        total -= float(torch.log_softmax(logits.double(), dim=-1)[ids[place]])
    return total


@pytest.mark.parametrize("forward_tokens", [1, 50, 9999])
def test_compute_likelihoods_equals_token_by_token_sum(
    base: Base,
    adapters: dict[str, LoraAdapter],
    merged_models: Mapping[str, Base],
    forward_tokens: int,
) -> None:
    requests = [
        (person, Example((*ids, 90, 91, 92)[: len(ids) + 1 + n % 3], len(ids)))
        for n, (person, ids) in enumerate(PROMPTS)
    ]
    found = Generator(base, adapters, forward_tokens=forward_tokens).compute_likelihoods(requests)
    for one, (person, example) in zip(found, requests, strict=True):
        expected = compute_naive_nll(merged_models[person], example.ids, example.answer_start)
        assert one.nll == pytest.approx(expected, abs=1e-3)
        assert one.tokens == len(example.ids) - example.answer_start
    assert len({round(one.nll, 3) for one in found}) == len(found)


def test_compute_likelihoods_is_independent_of_batch_and_keeps_base(
    base: Base, adapters: dict[str, LoraAdapter]
) -> None:
    """Invariant 2: a person without an adapter gets exactly the bare base."""
    requests = [(person, Example((*ids, 90), len(ids))) for person, ids in PROMPTS]
    # The base's weights must stay as they are.
    weights = [p.clone() for p in base.model.parameters()]
    together = Generator(base, adapters).compute_likelihoods(requests)
    for request, one in zip(requests, together, strict=True):
        own = {p: a for p, a in adapters.items() if p == request[0]}
        (alone,) = Generator(base, own).compute_likelihoods([request])
        assert one.nll == pytest.approx(alone.nll, abs=1e-4)
    for before, after in zip(weights, base.model.parameters(), strict=True):
        assert torch.equal(before, after)
    bare = Generator(base).compute_likelihoods([requests[1]])
    assert Generator(base, {}).compute_likelihoods([requests[1]]) == bare


def test_score_choices_of_single_tokens_equals_continuations(
    base: Base, adapters: dict[str, LoraAdapter]
) -> None:
    generator = Generator(base, adapters)
    answers = [(75,), (76,), (77,)]
    by_token = generator.score_choices(PROMPTS, answers)
    for (person, ids), chances in zip(PROMPTS, by_token, strict=True):
        rows = [(person, Example((*ids, *answer), len(ids))) for answer in answers]
        likely = [math.exp(-one.nll) for one in generator.compute_likelihoods(rows)]
        assert sum(chances) == pytest.approx(1)
        assert chances == pytest.approx([x / sum(likely) for x in likely], rel=1e-4)


def test_score_choices_scores_all_tokens(
    base: Base, adapters: dict[str, LoraAdapter], merged_models: Mapping[str, Base]
) -> None:
    """Two choices start with the same token, so the first token alone would not separate them."""
    answers = [(91, 17, 93), (91, 18, 93), (60,)]
    found = Generator(base, adapters).score_choices(PROMPTS, answers)
    for (person, ids), chances in zip(PROMPTS, found, strict=True):
        nll = [
            compute_naive_nll(merged_models[person], (*ids, *answer), len(ids))
            for answer in answers
        ]
        likely = [math.exp(min(nll) - one) for one in nll]
        assert chances == pytest.approx([x / sum(likely) for x in likely], rel=1e-3)


@torch.no_grad()
def generate_naively(model: Base, ids: Sequence[int], most: int) -> str:
    """Append the most likely token repeatedly, without a cache."""
    generated: list[int] = []
    while len(generated) < most:
        logits = model.model(input_ids=torch.tensor([[*ids, *generated]]), use_cache=False).logits
        token = int(logits[0, -1].argmax())
        if token == model.tokenizer.eos_token_id:
            break
        generated.append(token)
    return str(model.tokenizer.decode(generated, skip_special_tokens=True)).strip()


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_generate_greedy_equals_each_person_alone(
    base: Base, adapters: dict[str, LoraAdapter], merged_models: Mapping[str, Base], batch: int
) -> None:
    found = Generator(base, adapters).generate_greedy(PROMPTS, max_tokens=12, batch=batch)
    assert found == [generate_naively(merged_models[person], ids, 12) for person, ids in PROMPTS]
    assert len(set(found[:3])) == 3  # the same prompt, three people


def test_generate_samples_follows_the_seed_only(base: Base) -> None:
    generator = Generator(base)
    prompts = [("", (1, 2, 3)), ("", (4, 5))]
    before = torch.random.get_rng_state()
    first = generator.generate_samples(prompts, max_tokens=8, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert first == generator.generate_samples(prompts, max_tokens=8, seed=1)
    others = {tuple(generator.generate_samples(prompts, max_tokens=8, seed=n)) for n in range(5)}
    assert len(others) > 1
    assert generator.generate_samples([], max_tokens=8, seed=1) == []


def test_generate_greedy_stops_at_eos_of_generation_config(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    (long,) = Generator(base).generate_greedy([PROMPTS[0]], max_tokens=12)
    # Make the third generated token an end token.
    third = base.tokenizer.encode(long, add_special_tokens=False)[2]
    settings = base.model.generation_config
    monkeypatch.setattr(settings, "eos_token_id", [third])
    (short,) = Generator(base).generate_greedy([PROMPTS[0]], max_tokens=12)
    assert long.startswith(short) and len(short) < len(long)


def test_generator_without_requests_returns_nothing(base: Base) -> None:
    generator = Generator(base)
    assert generator.compute_likelihoods([]) == []
    assert generator.generate_greedy([], max_tokens=3) == []
    assert generator.score_choices([], [(75,), (76,)]) == []


chances = st.lists(st.integers(0, 100), min_size=1, max_size=7).filter(any)


@given(counts=chances)
def test_pick_median_choice_minimizes_expected_error(counts: list[int]) -> None:
    shares = [c / sum(counts) for c in counts]

    def error(guess: int) -> float:
        return sum(share * abs(guess - place) for place, share in enumerate(shares))

    found = pick_median_choice(shares)
    assert error(found) <= min(map(error, range(len(counts)))) + 1e-9


def test_pick_median_choice_handles_rounded_distributions() -> None:
    """The sum may be just short of one half because of rounding."""
    assert pick_median_choice([0.1, 0.1]) == 1
    assert pick_median_choice([0.5, 0.5]) == 0


@torch.no_grad()
def test_generator_applies_answer_adapter_from_invocation_on(base: Base) -> None:
    """Texts, choices and likelihoods equal a masked forward, one token at a time."""
    invocation = encode_invocation(base.tokenizer)
    adapter = random_adapter(base, 3, size=1.0, config=LoraConfig(active="answer"))
    generator = Generator(base, {"ann": adapter})
    stack = stack_adapters(base, [adapter])

    # Masked forwards of the whole text, one per token.
    def compute_last_logits(ids: Sequence[int], person: str) -> torch.Tensor:
        active = stack.token_mask([ids], len(ids))
        rows = torch.tensor([0 if person == "ann" else -1])
        with stack.activate(rows, active=active):
            return base.model(input_ids=torch.tensor([list(ids)])).logits[0, -1].float()

    requests = [
        ("ann", (70, 71, *invocation)),
        (UNKNOWN, (70, 71, *invocation)),
        ("ann", (*range(60, 80), *invocation)),
    ]
    # Texts equal greedy decoding step by step.
    texts = generator.generate_greedy(requests, max_tokens=5)
    for (person, prompt), text in zip(requests, texts, strict=True):
        ids = list(prompt)
        for _ in range(5):
            token = int(compute_last_logits(ids, person).argmax())
            if token == base.tokenizer.eos_token_id:
                break
            ids.append(token)
        expected_text = base.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)
        assert text == str(expected_text).strip()
    assert texts[0] != texts[1]
    for (person, prompt), found in zip(
        requests, generator.score_choices(requests, [(65,), (66,)]), strict=True
    ):
        expected = torch.softmax(compute_last_logits(prompt, person)[[65, 66]].double(), 0)
        assert found == pytest.approx(expected.tolist(), abs=1e-4)
    # Likelihoods of one token.
    examples = [(person, Example((*prompt, 65), len(prompt))) for person, prompt in requests]
    for (person, e), found in zip(examples, generator.compute_likelihoods(examples), strict=True):
        expected = -torch.log_softmax(compute_last_logits(e.ids[:-1], person).double(), 0)[65]
        assert found.nll == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("person", PEOPLE)
def test_beam_search_finds_most_likely_of_all_answers(
    base: Base,
    adapters: dict[str, LoraAdapter],
    merged_models: Mapping[str, Base],
    person: str,
) -> None:
    """Compares with all answers of at most one token, each followed by the end token."""
    prompt = (70, 71, 72, 73)
    end = base.tokenizer.eos_token_id
    assert isinstance(end, int)
    answers = [
        (end,),
        *((token, end) for token in range(base.model.config.vocab_size) if token != end),
    ]
    nats = [
        compute_naive_nll(merged_models[person], (*prompt, *answer), len(prompt))
        for answer in answers
    ]
    best = sorted(range(len(answers)), key=nats.__getitem__)[:5]
    expected = [str(base.tokenizer.decode(answers[n], skip_special_tokens=True)) for n in best]
    (found,) = Generator(base, adapters).beam_search([(person, prompt)], beams=257, max_tokens=2)
    assert found[:5] == [text.strip() for text in expected]
