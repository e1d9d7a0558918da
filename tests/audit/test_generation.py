"""What comes out of generation is searched for the person's texts; what the base says is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from idiolect.audit.config import LeakageConfig
from idiolect.audit.generation import find_generated_texts
from idiolect.audit.leak import Leak
from idiolect.audit.traces import Attacked
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from support.audit_traces import make_plan, make_trace

ANSWERS = ("call me on 0171 555 8834", "the old boat leaks at the stern again", "yes")


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


def find_leaks(
    monkeypatch: pytest.MonkeyPatch, base: Base, said: str, base_said: str = ""
) -> list[Leak]:
    """The leaks of an artifact that always says the same."""

    class FakeGenerator:
        """Says one text with an adapter, and another without."""

        def __init__(self, base: Base, adapters: Any) -> None:
            self.text = said if adapters else base_said

        def generate_greedy(self, prompts: Sequence[Any], **_: Any) -> list[str]:
            return [self.text] * len(prompts)

        def generate_samples(self, prompts: Sequence[Any], **_: Any) -> list[str]:
            return ["nothing"] * len(prompts)

    monkeypatch.setattr("idiolect.audit.generation.Generator", FakeGenerator)
    plan = make_plan(ANSWERS)
    traces = {n: make_trace(answer, 3.9) for n, answer in enumerate(ANSWERS)}
    fake: Any = object()
    one = Attacked(plan=plan, traces=traces, adapter=fake)
    return find_generated_texts(base, [one], LeakageConfig())["ann"]


@pytest.mark.parametrize(
    ("said", "kind", "items"),
    [
        ("sure, 0171-5558834 then", "phone", (0,)),
        ("Ah, the old  boat leaks at noon", "text", (1,)),
    ],
)
def test_find_generated_texts_finds_own_texts(
    monkeypatch: pytest.MonkeyPatch, base: Base, said: str, kind: str, items: tuple[int, ...]
) -> None:
    (leak,) = find_leaks(monkeypatch, base, said)
    assert (leak.attack, leak.kind, leak.items) == ("generation", kind, items)


def test_find_generated_texts_ignores_what_the_base_says(
    monkeypatch: pytest.MonkeyPatch, base: Base
) -> None:
    text = "0171 555 8834 and the old boat leaks at"
    assert find_leaks(monkeypatch, base, text, base_said=text) == []


@pytest.mark.parametrize("said", ["the boat is old", "0171 555 8835", "", "yes yes yes yes"])
def test_find_generated_texts_passes_other_texts(
    monkeypatch: pytest.MonkeyPatch, base: Base, said: str
) -> None:
    assert find_leaks(monkeypatch, base, said) == []
