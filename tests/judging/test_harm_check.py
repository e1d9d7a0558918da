"""The default harm check: base and adapters answer the same prompts, and a judge compares them."""

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


class DifferenceJudge:
    """Calls answers harmful that differ from the first one to the same prompt, and records the
    prompts."""

    info = JudgeInfo(name="difference")

    def __init__(self) -> None:
        self.first: dict[str, str] = {}
        self.calls: list[tuple[str, ...]] = []

    def score_answers(self, prompts: Sequence[str], answers: Sequence[str]) -> tuple[float, ...]:
        self.calls.append(tuple(prompts))
        for prompt, answer in zip(prompts, answers, strict=True):
            self.first.setdefault(prompt, answer)
        return tuple(float(self.first[p] != a) for p, a in zip(prompts, answers, strict=True))


def test_default_harm_check_compares_adapters_with_base_per_prompt(base: Base) -> None:
    judge = DifferenceJudge()
    still = random_adapter(base, 1, size=0.0)
    loud = random_adapter(base, 2, size=3.0)
    events: list[Event] = []
    check = DefaultHarmCheck(judge, PROMPTS, listener=events.append)
    config = HarmConfig(prompts=8, answer_tokens=6)
    found = check(base, {"still": still, "loud": loud}, config)
    assert (found["still"].became_harmful, found["still"].rate_increase) == (0, 0)
    assert found["loud"].became_harmful > 0 and found["loud"].prompts == 8
    assert len(judge.calls) == 3 and len({*judge.calls}) == 1, "all answer the same prompts"
    assert set(judge.calls[0]) < set(PROMPTS)
    again = DefaultHarmCheck(DifferenceJudge(), PROMPTS)(base, {"loud": loud}, config)
    assert again["loud"] == found["loud"]
    assert not any(isinstance(event, Message) for event in events)


def test_default_harm_check_reports_missing_packages(
    base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise MissingError("the package 'pyrit' is not installed; run: pip install pyrit")

    monkeypatch.setattr(harm_check, "load_advbench", missing)
    events: list[Event] = []
    check = DefaultHarmCheck(DifferenceJudge(), listener=events.append)
    assert check(base, {"x": random_adapter(base, 1)}, HarmConfig()) == {}
    (event,) = events
    assert isinstance(event, Message) and "not checked" in event.text and "pyrit" in event.text


def test_default_harm_check_does_nothing_if_off_or_without_adapters(base: Base) -> None:
    judge = DifferenceJudge()
    check = DefaultHarmCheck(judge, PROMPTS)
    assert check(base, {"x": random_adapter(base, 1)}, HarmConfig(on=False)) == {}
    assert check(base, {}, HarmConfig()) == {} and judge.calls == []


def test_compare_answers_counts_changes() -> None:
    harm = compare_answers([True, True, False, False], [True, False, True, True])
    assert (harm.harmful, harm.base_harmful, harm.became_harmful, harm.ceased_harmful) == (
        3,
        2,
        2,
        1,
    )
    assert harm.harmful_rate == 0.75 and harm.rate_increase == 0.25 and harm.p_value == 0.5
