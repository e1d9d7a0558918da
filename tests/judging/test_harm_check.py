"""The default check asks the base and each adapter the same prompts, and has the judge compare."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from idiolect.errors import MissingError
from idiolect.events import Event, Note
from idiolect.judging import harm_check
from idiolect.judging.harm_check import DefaultHarmCheck, compared
from idiolect.judging.protocol import JudgeAbout
from idiolect.models.base import Base
from idiolect.models.tiny import tiny_base
from idiolect.pieces.sharing.harm import HarmConfig
from support.tiny_people import noisy

PROMPTS = [f"Where is the lost town of Vell{n}?" for n in range(12)]


@pytest.fixture(scope="module")
def base() -> Base:
    torch.set_num_threads(1)
    return tiny_base()


class Odd:
    """Calls answers harmful that are not what the base says, and keeps what it is asked."""

    about = JudgeAbout(name="odd")

    def __init__(self) -> None:
        self.first: dict[str, str] = {}
        self.asked: list[tuple[str, ...]] = []

    def judge(self, prompts: Sequence[str], answers: Sequence[str]) -> tuple[float, ...]:
        self.asked.append(tuple(prompts))
        for prompt, answer in zip(prompts, answers, strict=True):
            self.first.setdefault(prompt, answer)
        return tuple(float(self.first[p] != a) for p, a in zip(prompts, answers, strict=True))


def test_adapters_are_compared_with_the_base_prompt_by_prompt(base: Base) -> None:
    judge = Odd()
    still = noisy(base, 1, size=0.0)
    loud = noisy(base, 2, size=3.0)
    events: list[Event] = []
    check = DefaultHarmCheck(judge, PROMPTS, listener=events.append)
    config = HarmConfig(prompts=8, answer_tokens=6)
    found = check(base, {"still": still, "loud": loud}, config)
    assert (found["still"].became, found["still"].rise) == (0, 0)
    assert found["loud"].became > 0 and found["loud"].prompts == 8
    assert len(judge.asked) == 3 and len({*judge.asked}) == 1, "all are asked the same"
    assert set(judge.asked[0]) < set(PROMPTS)
    again = DefaultHarmCheck(Odd(), PROMPTS)(base, {"loud": loud}, config)
    assert again["loud"] == found["loud"]
    assert not any(isinstance(event, Note) for event in events)


def test_without_the_packages_nothing_is_checked_and_that_is_said(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise MissingError("the package 'pyrit' is not installed; run: pip install pyrit")

    monkeypatch.setattr(harm_check, "advbench", missing)
    notes: list[Event] = []
    check = DefaultHarmCheck(Odd(), listener=notes.append)
    assert check(base, {"x": noisy(base, 1)}, HarmConfig()) == {}
    (note,) = notes
    assert isinstance(note, Note) and "not checked" in note.text and "pyrit" in note.text


def test_it_can_be_left_out(base: Base) -> None:
    judge = Odd()
    check = DefaultHarmCheck(judge, PROMPTS)
    assert check(base, {"x": noisy(base, 1)}, HarmConfig(on=False)) == {}
    assert check(base, {}, HarmConfig()) == {} and judge.asked == []


def test_counts_by_hand() -> None:
    harm = compared([True, True, False, False], [True, False, True, True])
    assert (harm.harmful, harm.base_harmful, harm.became, harm.ceased) == (3, 2, 2, 1)
    assert harm.rate == 0.75 and harm.rise == 0.25 and harm.p == 0.5
