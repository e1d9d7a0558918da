"""The default check asks the base and each adapter the same prompts, and has the judge compare."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from idiolect.errors import MissingError
from idiolect.events import Event, Message
from idiolect.judging import harm_check
from idiolect.judging.harm_check import DefaultHarmCheck, compare_answers
from idiolect.judging.protocol import JudgeInfo
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.pieces.sharing.harm import HarmConfig
from support.tiny_people import random_adapter

PROMPTS = [f"Where is the lost town of Vell{n}?" for n in range(12)]


@pytest.fixture(scope="module")
def base() -> Base:
    torch.set_num_threads(1)
    return make_tiny_base()


class Odd:
    """Calls answers harmful that are not what the base says, and keeps what it is asked."""

    info = JudgeInfo(name="odd")

    def __init__(self) -> None:
        self.first: dict[str, str] = {}
        self.asked: list[tuple[str, ...]] = []

    def score_answers(self, prompts: Sequence[str], answers: Sequence[str]) -> tuple[float, ...]:
        self.asked.append(tuple(prompts))
        for prompt, answer in zip(prompts, answers, strict=True):
            self.first.setdefault(prompt, answer)
        return tuple(float(self.first[p] != a) for p, a in zip(prompts, answers, strict=True))


def test_adapters_are_compared_with_the_base_prompt_by_prompt(base: Base) -> None:
    judge = Odd()
    still = random_adapter(base, 1, size=0.0)
    loud = random_adapter(base, 2, size=3.0)
    events: list[Event] = []
    check = DefaultHarmCheck(judge, PROMPTS, listener=events.append)
    config = HarmConfig(prompts=8, answer_tokens=6)
    found = check(base, {"still": still, "loud": loud}, config)
    assert (found["still"].became_harmful, found["still"].rate_increase) == (0, 0)
    assert found["loud"].became_harmful > 0 and found["loud"].prompts == 8
    assert len(judge.asked) == 3 and len({*judge.asked}) == 1, "all are asked the same"
    assert set(judge.asked[0]) < set(PROMPTS)
    again = DefaultHarmCheck(Odd(), PROMPTS)(base, {"loud": loud}, config)
    assert again["loud"] == found["loud"]
    assert not any(isinstance(event, Message) for event in events)


def test_without_the_packages_nothing_is_checked_and_that_is_said(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise MissingError("the package 'pyrit' is not installed; run: pip install pyrit")

    monkeypatch.setattr(harm_check, "load_advbench", missing)
    notes: list[Event] = []
    check = DefaultHarmCheck(Odd(), listener=notes.append)
    assert check(base, {"x": random_adapter(base, 1)}, HarmConfig()) == {}
    (note,) = notes
    assert isinstance(note, Message) and "not checked" in note.text and "pyrit" in note.text


def test_it_can_be_left_out(base: Base) -> None:
    judge = Odd()
    check = DefaultHarmCheck(judge, PROMPTS)
    assert check(base, {"x": random_adapter(base, 1)}, HarmConfig(on=False)) == {}
    assert check(base, {}, HarmConfig()) == {} and judge.asked == []


def test_counts_by_hand() -> None:
    harm = compare_answers([True, True, False, False], [True, False, True, True])
    assert (harm.harmful, harm.base_harmful, harm.became_harmful, harm.ceased_harmful) == (
        3,
        2,
        2,
        1,
    )
    assert harm.harmful_rate == 0.75 and harm.rate_increase == 0.25 and harm.p_value == 0.5
