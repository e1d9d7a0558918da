from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from idiolect.adapters.lora import LoraConfig
from idiolect.errors import UsageError
from idiolect.judging.degenerate import GibberishConfig
from idiolect.judging.protocol import JudgeAbout
from idiolect.models.tiny import tiny_base
from idiolect.prompt_sets.corpora import Choice
from idiolect.scorecard import figures
from idiolect.scorecard.leakage import losses_of
from idiolect.scorecard.relearning import RelearnConfig
from idiolect.scorecard.scorer import Asked, Card, Material, ScoreConfig, Scorer, Text
from idiolect.scorecard.serialize import card_of, plain
from support.toy_judge import Letters
from support.unlearning_sets import FORGET, RETAIN
from tests.scorecard.test_measures import drawn

SETS = {"seen": tuple(p.prompt for p in FORGET[:1]), "unseen": ("Where is the lamp?", "Who?")}
MATERIAL = Material(
    prompts=SETS,
    retain=RETAIN[:3],
    forgotten=FORGET,
    others=tuple(replace(p, prompt=p.prompt + " Now?") for p in FORGET),
    choices={"places": (Choice(question="Where?", options=("here", "there"), answer=0),)},
)
CONFIG = ScoreConfig(
    tokens=6,
    gibberish=GibberishConfig(most_nats=1e9),
    relearn=RelearnConfig(after=(0, 1), lora=LoraConfig(rank=2)),
    bits=(8, 2),
)


class Vowels:
    """A judge: the more vowels, the worse."""

    about = JudgeAbout(name="vowels")

    def judge(self, prompts: Sequence[str], answers: Sequence[str]) -> tuple[float, ...]:
        """Chances."""
        return tuple(min(1.0, sum(a.count(v) for v in "aeiou") / 4) for a in answers)


def test_a_card_holds_all_that_is_promised() -> None:
    base = tiny_base()
    scorer = Scorer(base, None, MATERIAL, Vowels(), Letters(), CONFIG)
    card = scorer.card("base", base)
    assert {name: len(a.answers) for name, a in card.sets.items()} == {"seen": 1, "unseen": 2}
    asked = card.sets["unseen"]
    assert asked.chances == Vowels().judge((), asked.answers)
    assert len(card.retain.nats) == 3 and min(card.retain.tokens) > 1
    assert len(card.choices["places"]) == 1
    assert card.similar == pytest.approx((1, 1, 1))
    assert len(card.relearned) == 2
    assert card.membership is not None and card.membership.calibrated is not None
    assert card.membership.calibrated.auc == 0.5  # it is the base
    assert figures.cost(card, card) == 1
    again = Scorer(base, None, MATERIAL, Vowels(), Letters(), CONFIG).card("base", base)
    assert replace(again, seconds=0.0) == replace(card, seconds=0.0)


def test_roundings_and_sign_flip_are_other_models_and_leave_the_base_as_it_was() -> None:
    base = tiny_base()
    scorer = Scorer(base, None, MATERIAL, Vowels(), Letters(), CONFIG)
    new = drawn(base, 3)
    plain, unlearned = (scorer.card("", base, a, whole=False) for a in (None, new))
    flip = scorer.sign_flip("x", base, new, sets=["seen"])
    assert set(flip.sets) == {"seen"} and not flip.similar and flip.relearned == ()
    few = scorer.roundings("x", base, new)
    assert set(few) == {8, 2} and few[2].name == "x, 2 bits"
    texts = [card.retain.nats for card in (plain, unlearned, flip, few[2])]
    assert len(set(texts)) == 4
    assert few[8].retain.nats == pytest.approx(unlearned.retain.nats, rel=0.05)
    assert scorer.card("", base, whole=False).retain == plain.retain


def test_a_prompt_in_two_sets_is_refused() -> None:
    both = replace(MATERIAL, prompts={"seen": ("Where?",), "unseen": (" WHERE?",)})
    with pytest.raises(UsageError, match="'seen' and in 'unseen'"):
        Scorer(tiny_base(), None, both, Vowels(), Letters(), CONFIG)


def asked(chances: Sequence[float], faults: Sequence[str]) -> Asked:
    """Made-up answers."""
    return Asked(
        answers=("x",) * len(chances),
        chances=tuple(chances),
        refused=(False,) * len(chances),
        faults=tuple(faults),  # type: ignore[arg-type]
    )


def test_silence_is_not_safe() -> None:
    before = asked([0.9, 0.8, 0.7, 0.1], ["", "", "", ""])
    silent = asked([0.9, 0.0, 0.0, 0.0], ["", "blank", "blank", "repeats"])
    assert figures.harmful(before).rate == 0.75
    assert figures.harmful(silent).rate == 1.0  # of the one that says something
    assert figures.nothing(silent).rate == 0.75
    assert figures.fine(silent).rate == 0.0
    assert figures.reduction(silent, before) == pytest.approx(-1 / 3)
    found = figures.less_harmful(silent, before)
    assert found is not None and (found.people, found.gain) == (1, 0.0)
    mute = asked([0.9] * 4, ["blank"] * 4)
    assert figures.harmful(mute).rate is None and figures.reduction(mute, before) is None
    assert figures.less_harmful(mute, before) is None
    better = figures.less_harmful(asked([0.1, 0.1, 0.7, 0.1], [""] * 4), before)
    assert better is not None and better.gain == pytest.approx(0.5)


def test_perplexity_by_hand() -> None:
    text = Text(nats=(2.0, 4.0), tokens=(1, 2))
    assert figures.perplexity(text) == pytest.approx(math.exp(2))
    assert figures.perplexity(Text(nats=(1e6,), tokens=(1,))) == math.inf
    card = Card(name="", sets={}, retain=text)
    worse = Card(name="", sets={}, retain=Text(nats=(3.0, 6.0), tokens=(1, 2)))
    assert figures.cost(worse, card) == pytest.approx(math.e)
    assert losses_of(tiny_base(), None, []) == []


def test_a_card_goes_to_json_and_back_without_a_word_of_the_answers() -> None:
    base = tiny_base()
    card = Scorer(base, None, MATERIAL, Vowels(), Letters(), CONFIG).card("base", base)
    data = plain(card)
    text = json.dumps(data, allow_nan=False)
    assert not any(a and a in text for one in card.sets.values() for a in one.answers)
    again = card_of(json.loads(text))
    assert plain(again) == data
    assert again.membership == card.membership
    before, after = (figures.harmful(one.sets["unseen"]) for one in (card, again))
    assert (before.count, before.of) == (after.count, after.of)
