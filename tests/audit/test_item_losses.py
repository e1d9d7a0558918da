"""Single texts are tested by themselves, weighted by their copies, with few false alarms."""

from __future__ import annotations

import random
from collections.abc import Sequence

from idiolect.audit.config import LeakageConfig
from idiolect.audit.item_losses import compute_text_gains, find_outlying_texts
from idiolect.audit.leak import Leak
from support.audit_traces import make_plan, make_trace

CONFIG = LeakageConfig()
WORDS = [f"{letter * 3}{n}" for n, letter in enumerate("abcdefghij")]


def find_leaks(
    answers: Sequence[str], gains: Sequence[float], unseen: Sequence[float]
) -> list[Leak]:
    """The leaks of a person whose answers gain this much per token."""
    traces = {
        n: make_trace(a, 4.0 - g) for n, (a, g) in enumerate(zip(answers, gains, strict=True))
    }
    outside = [make_trace("unseen", 4.0 - gain) for gain in unseen]
    return find_outlying_texts(make_plan(answers), traces, outside, CONFIG)


def test_find_outlying_texts_finds_one_item_of_many() -> None:
    answers = ["a rather long secret here", *WORDS]
    gains = [3.0, *(0.1 * n for n in range(10))]
    (leak,) = find_leaks(answers, gains, [0.2, 0.4, 0.6, 0.3, 0.5, 0.4])
    assert (leak.attack, leak.kind, leak.items) == ("loss", "text", (0,))


def test_find_outlying_texts_weights_copies() -> None:
    """The same gain is significant for a text that was written several times only."""
    unseen = [0.0, 0.4, 0.8, 0.2, 0.6]
    once = ["a rather long secret here", *WORDS]
    assert find_leaks(once, [2.0, *[0.4] * 10], unseen) == []
    often = ["a rather long secret here"] * 6 + WORDS
    (leak,) = find_leaks(often, [2.0] * 6 + [0.4] * 10, unseen)
    assert (leak.kind, leak.items) == ("repeated text", (0, 1, 2, 3, 4, 5))


def test_find_outlying_texts_passes_small_texts_and_common_gains() -> None:
    # Three letters cannot carry 20 nats; a gain that unseen items have, too, is style.
    assert find_leaks(["abc", *WORDS], [3.9, *[0.1] * 10], [0.1, 0.2, 0.1, 0.2, 0.15]) == []
    assert find_leaks(["a rather long secret here"], [2.0], [1.9, 2.1, 2.3, 1.7]) == []


def test_compute_text_gains_needs_unseen_items() -> None:
    plan = make_plan(["abcdefgh"])
    assert compute_text_gains(plan, {0: make_trace("abcdefgh", 0.1)}, []) == []


def test_compute_text_gains_has_few_false_alarms() -> None:
    """If no item was trained on, at most 5% of people have a significant text."""
    draw = random.Random(0)
    alarms = 0
    for _ in range(200):
        gains = [draw.gauss(0.5, 0.5) for _ in range(20)]
        plan = make_plan([f"{n:05d}" for n in range(12)])
        traces = {n: make_trace(f"{n:05d}", 4.0 - gain) for n, gain in enumerate(gains[:12])}
        outside = [make_trace("unseen", 4.0 - gain) for gain in gains[12:]]
        alarms += any(one.p < 0.05 for one in compute_text_gains(plan, traces, outside))
    assert alarms <= 20
