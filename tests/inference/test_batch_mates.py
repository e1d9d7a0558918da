"""Whole answers next to a hostile adapter: the others' are the same bits, its owner gets an
error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.adapters import update_norm
from idiolect.adapters.lora import LoraAdapter
from idiolect.errors import NotFiniteError
from idiolect.history.interaction import Interaction
from idiolect.inference.answers import Question, answer_questions
from idiolect.inference.generator import AnswerLikelihood, Generator
from idiolect.inference.people_stack import keep_results
from idiolect.inference.scoring import compute_item_losses, iter_token_losses
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.prompts.context import ContextConfig, PersonContext
from idiolect.prompts.render import Example, PromptRenderer
from support.tiny_people import RATING, make_rater, random_adapter

PEOPLE = ("ann", "mallory", "bob")
ASKING = (*PEOPLE, "stranger", "bob", "mallory", "stranger")
PROMPTS = [(name, tuple(range(60, 70 + n))) for n, name in enumerate(ASKING)]
EXAMPLES = [(name, Example((*ids, 90, 91), len(ids))) for name, ids in PROMPTS]
CHOICES, LONG_CHOICES = [(75,), (76,)], [(75, 80), (76, 81)]

CALLS: dict[str, Callable[[Generator], list[Any]]] = {
    "likelihoods": lambda generator: generator.compute_likelihoods(EXAMPLES),
    "choices": lambda generator: generator.score_choices(PROMPTS, CHOICES),
    "long choices": lambda generator: generator.score_choices(PROMPTS, LONG_CHOICES),
    "greedy": lambda generator: generator.generate_greedy(PROMPTS, max_tokens=4),
    "beams": lambda generator: generator.beam_search(PROMPTS, beams=2, max_tokens=3),
}


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


def make_adapters(base: Base, order: tuple[str, ...], hostile: LoraAdapter | None) -> Any:
    adapters = {name: random_adapter(base, n, size=1.0) for n, name in enumerate(PEOPLE)}
    if hostile is not None:
        adapters["mallory"] = hostile
    return {name: adapters[name] for name in order}


def fill_adapter(base: Base, value: float) -> LoraAdapter:
    adapter = random_adapter(base, 9)
    pairs = {path: (a, torch.full_like(b, value)) for path, (a, b) in adapter.pairs.items()}
    return replace(adapter, pairs=pairs)


@pytest.fixture(scope="module", params=CALLS)
def harmless(request: pytest.FixtureRequest, base: Base) -> tuple[str, list[Any]]:
    """A call, and its results with harmless adapters only."""
    return request.param, CALLS[request.param](Generator(base, make_adapters(base, PEOPLE, None)))


@pytest.mark.finding("batch-mates")
@settings(max_examples=4)
@given(
    value=st.sampled_from([math.nan, math.inf, 3e38, 1e30]),
    order=st.permutations(PEOPLE).map(tuple),
)
def test_generator_answers_others_next_to_refused_adapter(
    base: Base, harmless: tuple[str, list[Any]], value: float, order: tuple[str, ...]
) -> None:
    """Rows of a refused adapter do not run at all, so the shape of the batch changes rounding."""
    name, expected = harmless
    generator = Generator(base, make_adapters(base, order, fill_adapter(base, value)))
    with pytest.raises(NotFiniteError, match="'mallory': adapter model") as caught:
        CALLS[name](generator)
    assert set(caught.value.reasons) == {"mallory"}
    for asking, found, usual in zip(ASKING, caught.value.results, expected, strict=True):
        if asking == "mallory":
            assert found is None
        else:
            assert_nearly_equal(found, usual)


def assert_nearly_equal(found: Any, usual: Any) -> None:
    """Compare texts exactly, and numbers up to rounding."""
    if isinstance(found, AnswerLikelihood):
        assert found.nll == pytest.approx(usual.nll, rel=1e-4)
    else:
        assert found == (pytest.approx(usual, rel=1e-4) if isinstance(found, tuple) else usual)


@pytest.mark.finding("batch-mates")
@settings(max_examples=4)
@given(value=st.sampled_from([3e38, 1e38, 1e30]), order=st.permutations(PEOPLE).map(tuple))
def test_generator_gives_same_bits_next_to_adapter_that_overflows(
    base: Base, harmless: tuple[str, list[Any]], value: float, order: tuple[str, ...]
) -> None:
    """An adapter that would pass all checks, and overflows, is its owner's error only."""
    name, expected = harmless
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(update_norm, "MAX_NORM_RATIO", math.inf)
        generator = Generator(base, make_adapters(base, order, fill_adapter(base, value)))
    reasons: dict[str, str] = {}
    results = keep_results(lambda: CALLS[name](generator), reasons)
    assert set(reasons) <= {"mallory"} and (reasons or value < 3e38)
    for asking, found, usual in zip(ASKING, results, expected, strict=True):
        assert asking == "mallory" or found == usual


@pytest.mark.finding("batch-mates")
@pytest.mark.parametrize("value", [0.0, 1e-45, 1e-38, 0.5])
def test_generator_gives_same_bits_next_to_harmless_extremes(
    base: Base, harmless: tuple[str, list[Any]], value: float
) -> None:
    """Tiny, denormal and zero numbers are no error."""
    name, expected = harmless
    found = CALLS[name](Generator(base, make_adapters(base, PEOPLE, fill_adapter(base, value))))
    for asking, one, usual in zip(ASKING, found, expected, strict=True):
        assert asking == "mallory" or one == usual


@pytest.mark.finding("batch-mates")
@pytest.mark.parametrize("bound", [1000.0, math.inf], ids=["refused", "overflows"])
def test_token_losses_name_hostile_person_after_all_others(
    base: Base, bound: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = list(
        iter_token_losses(base, EXAMPLES, make_adapters(base, PEOPLE, None), forward_tokens=10**6)
    )
    monkeypatch.setattr(update_norm, "MAX_NORM_RATIO", bound)
    adapters = make_adapters(base, PEOPLE, fill_adapter(base, 3e38))
    found: list[tuple[int, float, float]] = []
    losses = iter_token_losses(base, EXAMPLES, adapters, forward_tokens=10**6)
    with pytest.raises(NotFiniteError, match="'mallory'"):
        found.extend(losses)
    others = [one for one in usual if ASKING[one[0]] != "mallory"]
    assert [row for row, _, _ in found] == [row for row, _, _ in others]
    values = [[loss for _, loss, _ in some] for some in (found, others)]
    assert values[0] == pytest.approx(values[1], rel=1e-4)
    assert bound < math.inf or found == others  # rows of a refused adapter do not run at all
    with pytest.raises(NotFiniteError, match="'mallory'"):
        compute_item_losses(base, EXAMPLES, adapters, forward_tokens=10**6)


@pytest.mark.finding("batch-mates")
def test_answer_questions_serves_others_next_to_hostile_adapter(base: Base) -> None:
    prompter = PromptRenderer(base.tokenizer)
    questions = [
        Question(
            person=PersonContext(make_rater(name, 3), RATING, prompter, ContextConfig()),
            query=Interaction(
                id="q",
                position=9,
                fields={"title": "Film", "year": "1990", "genres": "Drama", "rating": "3"},
            ),
        )
        for name in PEOPLE
    ]

    def answer_all(hostile: LoraAdapter | None) -> list[Any]:
        generator = Generator(base, make_adapters(base, PEOPLE, hostile))
        return answer_questions(generator, RATING, questions, gold=True)

    expected = answer_all(None)
    with pytest.raises(NotFiniteError, match="'mallory'") as caught:
        answer_all(fill_adapter(base, math.nan))
    found = caught.value.results
    assert found[1] is None
    for n in (0, 2):
        assert found[n].text == expected[n].text and found[n].gold is not None
