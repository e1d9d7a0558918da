"""Answers of many people at once equal everyone's own, computed the obvious way."""

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

STRANGER = "stranger"
PEOPLE = ("ann", "bob", STRANGER)
PROMPTS = (
    ("ann", (70, 71, 72, 73)),
    (STRANGER, (70, 71, 72, 73)),
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
def models(adapters: dict[str, LoraAdapter]) -> dict[str, Base]:
    """Everyone's own model, with the adapter in its weights."""
    out = {person: make_tiny_base() for person in PEOPLE}
    for person, adapter in adapters.items():
        for path, (a, b) in adapter.pairs.items():
            weight = out[person].model.get_submodule(path).weight
            weight.data = merge_weight(weight.data, a, b, adapter.config.scale)
    return out


@torch.no_grad()
def naive(model: Base, ids: Sequence[int], start: int) -> float:
    """Negative log likelihood of ``ids[start:]``, one token at a time."""
    total = 0.0
    for place in range(start, len(ids)):
        logits = model.model(input_ids=torch.tensor([ids[:place]])).logits[0, -1]
        total -= float(torch.log_softmax(logits.double(), dim=-1)[ids[place]])
    return total


@pytest.mark.parametrize("forward_tokens", [1, 50, 9999])
def test_likelihoods_are_sums_of_log_chances(
    base: Base,
    adapters: dict[str, LoraAdapter],
    models: Mapping[str, Base],
    forward_tokens: int,
) -> None:
    requests = [
        (person, Example((*ids, 90, 91, 92)[: len(ids) + 1 + n % 3], len(ids)))
        for n, (person, ids) in enumerate(PROMPTS)
    ]
    found = Generator(base, adapters, forward_tokens=forward_tokens).compute_likelihoods(requests)
    for one, (person, example) in zip(found, requests, strict=True):
        expected = naive(models[person], example.ids, example.answer_start)
        assert one.nll == pytest.approx(expected, abs=1e-3)
        assert one.tokens == len(example.ids) - example.answer_start
    assert len({round(one.nll, 3) for one in found}) == len(found)


def test_company_changes_nobody_and_the_base_is_untouched(
    base: Base, adapters: dict[str, LoraAdapter]
) -> None:
    """Invariant 2: who has no adapter gets the bare base, to the last digits."""
    requests = [(person, Example((*ids, 90), len(ids))) for person, ids in PROMPTS]
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


def test_choices_by_one_token_and_as_continuations_agree(
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


def test_choices_of_more_tokens_are_scored_whole(
    base: Base, adapters: dict[str, LoraAdapter], models: Mapping[str, Base]
) -> None:
    """Also where they begin alike, so that the first token alone would say nothing."""
    answers = [(91, 17, 93), (91, 18, 93), (60,)]
    found = Generator(base, adapters).score_choices(PROMPTS, answers)
    for (person, ids), chances in zip(PROMPTS, found, strict=True):
        nll = [naive(models[person], (*ids, *answer), len(ids)) for answer in answers]
        likely = [math.exp(min(nll) - one) for one in nll]
        assert chances == pytest.approx([x / sum(likely) for x in likely], rel=1e-3)


@torch.no_grad()
def greedy(model: Base, ids: Sequence[int], most: int) -> str:
    """The likeliest token again and again, everything computed anew each time."""
    made: list[int] = []
    while len(made) < most:
        logits = model.model(input_ids=torch.tensor([[*ids, *made]]), use_cache=False).logits
        token = int(logits[0, -1].argmax())
        if token == model.tokenizer.eos_token_id:
            break
        made.append(token)
    return str(model.tokenizer.decode(made, skip_special_tokens=True)).strip()


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_texts_are_what_everyone_would_write_alone(
    base: Base, adapters: dict[str, LoraAdapter], models: Mapping[str, Base], batch: int
) -> None:
    found = Generator(base, adapters).generate_greedy(PROMPTS, max_tokens=12, batch=batch)
    assert found == [greedy(models[person], ids, 12) for person, ids in PROMPTS]
    assert len(set(found[:3])) == 3  # the same prompt, three people


def test_writing_stops_at_the_end_mark(base: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    (long,) = Generator(base).generate_greedy([PROMPTS[0]], max_tokens=12)
    third = base.tokenizer.encode(long, add_special_tokens=False)[2]
    settings = base.model.generation_config
    monkeypatch.setattr(settings, "eos_token_id", [third])
    (short,) = Generator(base).generate_greedy([PROMPTS[0]], max_tokens=12)
    assert long.startswith(short) and len(short) < len(long)


def test_nothing_asked_nothing_answered(base: Base) -> None:
    generator = Generator(base)
    assert generator.compute_likelihoods([]) == []
    assert generator.generate_greedy([], max_tokens=3) == []
    assert generator.score_choices([], [(75,), (76,)]) == []


chances = st.lists(st.integers(0, 100), min_size=1, max_size=7).filter(any)


@given(counts=chances)
def test_the_median_minimises_the_expected_error(counts: list[int]) -> None:
    shares = [c / sum(counts) for c in counts]

    def error(guess: int) -> float:
        return sum(share * abs(guess - place) for place, share in enumerate(shares))

    found = pick_median_choice(shares)
    assert error(found) <= min(map(error, range(len(counts)))) + 1e-9


def test_the_median_of_chances_that_do_not_add_up() -> None:
    """Rounding may leave a distribution just short of the half."""
    assert pick_median_choice([0.1, 0.1]) == 1
    assert pick_median_choice([0.5, 0.5]) == 0


@torch.no_grad()
def test_an_adapter_on_answers_leaves_the_prompt_to_the_base(base: Base) -> None:
    """Texts, choices and likelihoods as one token after the other through a masked forward."""
    call = encode_invocation(base.tokenizer)
    adapter = random_adapter(base, 3, size=1.0, config=LoraConfig(active="answer"))
    generator = Generator(base, {"ann": adapter})
    stack = stack_adapters(base, [adapter])

    def last(ids: Sequence[int], person: str) -> torch.Tensor:
        active = stack.token_mask([ids], len(ids))
        rows = torch.tensor([0 if person == "ann" else -1])
        with stack.activate(rows, active=active):
            return base.model(input_ids=torch.tensor([list(ids)])).logits[0, -1].float()

    asked = [
        ("ann", (70, 71, *call)),
        (STRANGER, (70, 71, *call)),
        ("ann", (*range(60, 80), *call)),
    ]
    texts = generator.generate_greedy(asked, max_tokens=5)
    for (person, prompt), text in zip(asked, texts, strict=True):
        ids = list(prompt)
        for _ in range(5):
            token = int(last(ids, person).argmax())
            if token == base.tokenizer.eos_token_id:
                break
            ids.append(token)
        said = base.tokenizer.decode(ids[len(prompt) :], skip_special_tokens=True)
        assert text == str(said).strip()
    assert texts[0] != texts[1]
    for (person, prompt), found in zip(
        asked, generator.score_choices(asked, [(65,), (66,)]), strict=True
    ):
        expected = torch.softmax(last(prompt, person)[[65, 66]].double(), 0)
        assert found == pytest.approx(expected.tolist(), abs=1e-4)
    examples = [(person, Example((*prompt, 65), len(prompt))) for person, prompt in asked]
    for (person, e), found in zip(examples, generator.compute_likelihoods(examples), strict=True):
        expected = -torch.log_softmax(last(e.ids[:-1], person).double(), 0)[65]
        assert found.nll == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("person", PEOPLE)
def test_the_likeliest_answers_are_those_of_all_there_are(
    base: Base,
    adapters: dict[str, LoraAdapter],
    models: Mapping[str, Base],
    person: str,
) -> None:
    """Beams against every answer of at most one token, each followed by the end."""
    prompt = (70, 71, 72, 73)
    end = base.tokenizer.eos_token_id
    assert isinstance(end, int)
    answers = [
        (end,),
        *((token, end) for token in range(base.model.config.vocab_size) if token != end),
    ]
    nats = [naive(models[person], (*prompt, *answer), len(prompt)) for answer in answers]
    best = sorted(range(len(answers)), key=nats.__getitem__)[:5]
    wanted = [str(base.tokenizer.decode(answers[n], skip_special_tokens=True)) for n in best]
    (found,) = Generator(base, adapters).beam_search([(person, prompt)], beams=257, max_tokens=2)
    assert found[:5] == [text.strip() for text in wanted]
