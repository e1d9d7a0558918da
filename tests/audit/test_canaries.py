"""A planted canary that was learned is exposed; one that was not trained on is not."""

from __future__ import annotations

import math

import pytest

from idiolect.audit.canaries import (
    CANARY_DIGITS,
    compute_exposure,
    make_alternatives,
    make_canaries,
    measure_canaries,
)
from idiolect.models.base import Base
from idiolect.models.tiny import make_byte_tokenizer, make_tiny_base
from idiolect.prompts.render import PromptRenderer
from support.memorizers import memorize


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


def test_make_canaries_are_seeded_and_different() -> None:
    made = make_canaries(12, seed=1)
    assert made == make_canaries(12, seed=1) != make_canaries(12, seed=2)
    assert len({canary.answer for canary in made}) == 12
    assert all(len(canary.digits) == CANARY_DIGITS for canary in made)


def test_measure_canaries_exposes_learned_canaries_only(base: Base) -> None:
    prompter = PromptRenderer(base.tokenizer)
    planted, other = make_canaries(2, seed=3)
    adapter = memorize(base, "ann", [planted.encode_example(prompter)] * 4)
    found = measure_canaries(base, adapter, [planted, other], prompter, alternatives=30)
    assert found[0].rank == 1 and found[0].bits > 12
    assert found[1].bits < 6
    (bare,) = measure_canaries(base, None, [planted], prompter, alternatives=30)
    assert bare.bits == 0


def test_compute_exposure_is_the_rank_in_bits() -> None:
    others = [float(n) for n in range(63)]
    assert compute_exposure(60.5, others).bits == 6 - math.log2(3)
    assert compute_exposure(-1.0, others).bits == 0
    first = compute_exposure(500.0, others, most_bits=20)
    assert (first.rank, first.bits, first.p) == (1, 20, 1 / 64)


def test_compute_exposure_counts_ties_against_the_text() -> None:
    found = compute_exposure(0.0, [0.0] * 40)
    assert (found.rank, found.p) == (41, 1.0)


def test_make_alternatives_keep_the_form() -> None:
    tokenizer = make_byte_tokenizer()
    made = make_alternatives(" Ann 0171-55", 20, tokenizer, seed=0)
    assert len(made) == 20 and made == make_alternatives(" Ann 0171-55", 20, tokenizer, seed=0)
    for text in made:
        word, _, number = text.strip().partition(" ")
        assert word.isalpha() and word.istitle() and text != " Ann 0171-55"
        assert [c.isdigit() for c in number] == [c.isdigit() for c in "0171-55"]
    assert make_alternatives("!?", 5, tokenizer, seed=0) == []
