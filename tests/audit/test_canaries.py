"""A planted canary that was learned is exposed; one that was not trained on is not."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from idiolect.adapters.lora import LoraAdapter
from idiolect.audit.canaries import (
    ALTERNATIVES,
    CANARY_DIGITS,
    compute_exposure,
    find_exposed_strings,
    make_alternatives,
    make_canaries,
    measure_canaries,
)
from idiolect.audit.config import LeakageConfig
from idiolect.audit.leak import Leak
from idiolect.audit.plan import AuditPlan
from idiolect.audit.traces import Attacked, ItemTrace, compute_token_losses
from idiolect.models.base import Base
from idiolect.models.tiny import make_byte_tokenizer, make_tiny_base
from idiolect.prompts.render import PromptRenderer
from support.memorizers import MEMORIZING, make_secret_keeper, memorize


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


def attack_strings(base: Base, adapter: LoraAdapter | None) -> list[Leak]:
    """The exposure attack alone on a person whose secret holds a number."""
    subject = make_secret_keeper(base).subject
    plan, traces = AuditPlan(subject, base.tokenizer), dict[int, ItemTrace]()
    rows = [("ann", example) for example in subject.trained_items]
    adapters = {} if adapter is None else {"ann": adapter}
    plain, found = (
        compute_token_losses(base, rows, given, forward_tokens=512, name="it")
        for given in ({}, adapters)
    )
    for item, (_, example) in enumerate(rows):
        traces[item] = ItemTrace(example=example, base=plain[item], found=found[item])
    attacked = Attacked(plan=plan, traces=traces, adapter=adapter)
    return find_exposed_strings(base, [attacked], LeakageConfig(), forward_tokens=512)["ann"]


def test_find_exposed_strings_finds_a_learned_number_among_alternatives(base: Base) -> None:
    keeper = make_secret_keeper(base)
    # Learned a little: too little to be said.
    config = replace(MEMORIZING, epochs=12)
    (leak,) = attack_strings(base, memorize(base, "ann", keeper.list_secrets(), config))
    assert (leak.attack, leak.kind, leak.items) == ("exposure", "phone", keeper.secret_items)
    assert leak.strength > math.log2(ALTERNATIVES)


def test_find_exposed_strings_passes_adapters_that_never_saw_the_number(base: Base) -> None:
    other = make_secret_keeper(base, secret="no number", seed=2)
    strangers = memorize(base, "ann", other.list_secrets(), replace(MEMORIZING, epochs=12))
    for adapter in (None, strangers):
        assert attack_strings(base, adapter) == []


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
