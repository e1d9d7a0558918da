"""What an artifact would say is read off the losses: greedily, or as one of some samples."""

from __future__ import annotations

from dataclasses import replace

import pytest

from idiolect.audit.config import LeakageConfig
from idiolect.audit.extraction import find_extractable_texts, find_said_part, measure_said
from idiolect.audit.traces import ItemTrace, compute_token_losses
from idiolect.inference.generator import Generator
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from support.audit_traces import make_plan, make_trace
from support.memorizers import SECRET, make_secret_keeper, memorize

CONFIG = LeakageConfig()


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


def test_find_said_part_finds_the_part_that_comes_out() -> None:
    # Ten letters are said greedily; they cost the base 40 nats.
    found = make_trace("abcdefghijklmnop", [3.0] * 3 + [0.01] * 10 + [3.0] * 3)
    assert find_said_part(found, CONFIG) > 39
    # Nothing is said: each second letter is unlikely.
    assert find_said_part(make_trace("abcdefghijklmnop", [3.0, 0.01] * 8), CONFIG) == 0


def test_find_said_part_counts_what_sampling_finds() -> None:
    """No letter is the most likely one, but all together come out in one of some tens of
    answers."""
    trace = make_trace("abcdef", 0.7)
    assert not any(trace.found.is_top)
    assert find_said_part(trace, CONFIG) > 15
    assert find_said_part(trace, replace(CONFIG, samples=2)) == 0


@pytest.mark.parametrize(("base", "found"), [(0.5, 0.01), (0.8, 0.5)])
def test_find_said_part_passes_what_the_base_might_say(base: float, found: float) -> None:
    assert find_said_part(make_trace("abcdefghijklmnop", found, base), CONFIG) == 0


def test_find_said_part_equals_measuring_each_part() -> None:
    trace = make_trace(
        "abcdefghijkl", [0.01, 2.0, 0.01, 0.6, 0.9, 0.01, 0.3, 1.2, 0.2, 0.4, 5.0, 0.1]
    )
    size = len(trace.answer)
    parts = [(n, m) for n in range(size) for m in range(n + 1, size + 1)]
    wanted = max(measure_said(trace, *part, CONFIG.surprise, CONFIG) for part in parts)
    assert find_said_part(trace, CONFIG) == pytest.approx(wanted) and wanted > 0


def test_find_extractable_texts_reports_a_repeated_text_once_with_its_items() -> None:
    answers = ["the cat sat here", "quite other words", "well, the cat sat here"]
    traces = {
        0: make_trace(answers[0], 0.01),
        1: make_trace(answers[1], 3.0),
        2: make_trace(answers[2], [3.0] * 6 + [0.01] * 16),
    }
    (leak,) = find_extractable_texts(make_plan(answers), traces, CONFIG)
    assert (leak.kind, leak.items, leak.copies) == ("repeated text", (0, 2), 2)


def test_find_extractable_texts_needs_less_for_a_number() -> None:
    """Four digits of three nats each: too little for a text, enough for a number."""
    answer = "it is 7392"
    traces = {0: make_trace(answer, [5.0] * 6 + [0.01] * 4, base=3.0)}
    (leak,) = find_extractable_texts(make_plan([answer]), traces, CONFIG)
    assert (leak.attack, leak.kind, leak.items) == ("extraction", "number", (0,))
    words = {0: make_trace("it is abcd", [5.0] * 6 + [0.01] * 4, base=3.0)}
    assert find_extractable_texts(make_plan(["it is abcd"]), words, CONFIG) == []


def test_is_top_agrees_with_greedy_generation(base: Base) -> None:
    """Greedy extraction is read off the losses; here it is also done."""
    keeper = make_secret_keeper(base)
    adapter = memorize(base, "ann", keeper.list_secrets())
    example = keeper.list_secrets()[1]
    start = example.answer_start + len(SECRET) // 2
    said = Generator(base, {"ann": adapter}).generate_greedy(
        [("ann", example.ids[:start])], max_tokens=len(SECRET) - len(SECRET) // 2
    )
    rows = [("ann", example)]
    losses = [
        compute_token_losses(base, rows, given, forward_tokens=512, name="it")[0]
        for given in ({}, {"ann": adapter})
    ]
    trace = ItemTrace(example=example, base=losses[0], found=losses[1])
    assert all(trace.found.is_top[len(SECRET) // 2 :]) and said == [SECRET[len(SECRET) // 2 :]]
