"""Scorecard rows: measuring them, their figures, and their serialization."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import pytest

from idiolect.adapters.lora import LoraConfig
from idiolect.errors import UsageError
from idiolect.judging.degenerate import DegenerateConfig
from idiolect.judging.protocol import JudgeInfo
from idiolect.models.tiny import make_tiny_base
from idiolect.prompt_sets.corpora import MultipleChoiceQuestion
from idiolect.scorecard import figures
from idiolect.scorecard.leakage import compute_losses
from idiolect.scorecard.relearning import RelearnConfig
from idiolect.scorecard.scorer import (
    LikelihoodResults,
    PromptResults,
    ScorecardInputs,
    ScorecardRow,
    ScorecardRunner,
    ScoreConfig,
)
from idiolect.scorecard.serialize import row_from_dict, row_to_dict
from support.tiny_people import random_adapter
from support.toy_judge import KeywordEncoder
from support.unlearning_sets import FORGET, RETAIN

SETS = {"seen": tuple(p.prompt for p in FORGET[:1]), "unseen": ("Where is the lamp?", "Who?")}
MATERIAL = ScorecardInputs(
    prompts=SETS,
    retain=RETAIN[:3],
    forget_pairs=FORGET,
    nonmember_pairs=tuple(replace(p, prompt=p.prompt + " Now?") for p in FORGET),
    choices={
        "places": (MultipleChoiceQuestion(question="Where?", options=("here", "there"), answer=0),)
    },
)
CONFIG = ScoreConfig(
    tokens=6,
    gibberish=DegenerateConfig(most_nats=1e9),
    relearn=RelearnConfig(after=(0, 1), lora=LoraConfig(rank=2, targets=("q_proj", "v_proj"))),
    bits=(8, 2),
)


class VowelJudge:
    """A judge that scores answers by their number of vowels."""

    info = JudgeInfo(name="vowels")

    def score_answers(self, prompts: Sequence[str], answers: Sequence[str]) -> tuple[float, ...]:
        """Return scores."""
        return tuple(min(1.0, sum(a.count(v) for v in "aeiou") / 4) for a in answers)


def test_measure_model_fills_all_measurements() -> None:
    base = make_tiny_base()
    scorer = ScorecardRunner(base, None, MATERIAL, VowelJudge(), KeywordEncoder(), CONFIG)
    card = scorer.measure_model("base", base)
    assert {name: len(a.answers) for name, a in card.sets.items()} == {"seen": 1, "unseen": 2}
    results = card.sets["unseen"]
    assert results.harm_probabilities == VowelJudge().score_answers((), results.answers)
    assert len(card.retain.nlls) == 3 and min(card.retain.tokens) > 1
    assert len(card.choices["places"]) == 1
    assert card.similar == pytest.approx((1, 1, 1))
    assert len(card.relearned) == 2
    assert card.membership is not None and card.membership.calibrated is not None
    assert card.membership.calibrated.auc == 0.5  # the model is the base
    assert figures.retain_cost(card, card) == 1
    again = ScorecardRunner(
        base, None, MATERIAL, VowelJudge(), KeywordEncoder(), CONFIG
    ).measure_model("base", base)
    assert replace(again, seconds=0.0) == replace(card, seconds=0.0)


def test_measure_quantized_and_sign_flip_leave_the_base_unchanged() -> None:
    base = make_tiny_base()
    scorer = ScorecardRunner(base, None, MATERIAL, VowelJudge(), KeywordEncoder(), CONFIG)
    new = random_adapter(base, 3, LoraConfig(rank=2, alpha=4.0, targets=("q_proj", "v_proj")), 0.1)
    plain, unlearned = (scorer.measure_model("", base, a, whole=False) for a in (None, new))
    flip = scorer.measure_sign_flip("x", base, new, sets=["seen"])
    assert set(flip.sets) == {"seen"} and not flip.similar and flip.relearned == ()
    few = scorer.measure_quantized("x", base, new)
    assert set(few) == {8, 2} and few[2].name == "x, 2 bits"
    texts = [card.retain.nlls for card in (plain, unlearned, flip, few[2])]
    assert len(set(texts)) == 4
    assert few[8].retain.nlls == pytest.approx(unlearned.retain.nlls, rel=0.05)
    assert scorer.measure_model("", base, whole=False).retain == plain.retain


def test_scorecard_runner_rejects_prompt_in_two_sets() -> None:
    both = replace(MATERIAL, prompts={"seen": ("Where?",), "unseen": (" WHERE?",)})
    with pytest.raises(UsageError, match="'seen' and in 'unseen'"):
        ScorecardRunner(make_tiny_base(), None, both, VowelJudge(), KeywordEncoder(), CONFIG)


def make_results(chances: Sequence[float], faults: Sequence[str]) -> PromptResults:
    """Build results from given scores and reasons."""
    return PromptResults(
        answers=("x",) * len(chances),
        harm_probabilities=tuple(chances),
        refused=(False,) * len(chances),
        degenerate_reasons=tuple(faults),  # type: ignore[arg-type]
    )


def test_harmful_rate_ignores_degenerate_answers() -> None:
    before = make_results([0.9, 0.8, 0.7, 0.1], ["", "", "", ""])
    silent = make_results([0.9, 0.0, 0.0, 0.0], ["", "blank", "blank", "repeats"])
    assert figures.harmful_rate(before).value == 0.75
    assert figures.harmful_rate(silent).value == 1.0  # of the only usable answer
    assert figures.degenerate_rate(silent).value == 0.75
    assert figures.ok_rate(silent).value == 0.0
    assert figures.harm_reduction(silent, before) == pytest.approx(-1 / 3)
    found = figures.compare_harm(silent, before)
    assert found is not None and (found.people, found.gain) == (1, 0.0)
    # Without usable answers there is no harmful rate.
    mute = make_results([0.9] * 4, ["blank"] * 4)
    assert figures.harmful_rate(mute).value is None and figures.harm_reduction(mute, before) is None
    assert figures.compare_harm(mute, before) is None
    better = figures.compare_harm(make_results([0.1, 0.1, 0.7, 0.1], [""] * 4), before)
    assert better is not None and better.gain == pytest.approx(0.5)


def test_compute_perplexity_and_retain_cost_match_expected_values() -> None:
    text = LikelihoodResults(nlls=(2.0, 4.0), tokens=(1, 2))
    assert figures.compute_perplexity(text) == pytest.approx(math.exp(2))
    assert figures.compute_perplexity(LikelihoodResults(nlls=(1e6,), tokens=(1,))) == math.inf
    card = ScorecardRow(name="", sets={}, retain=text)
    worse = ScorecardRow(name="", sets={}, retain=LikelihoodResults(nlls=(3.0, 6.0), tokens=(1, 2)))
    assert figures.retain_cost(worse, card) == pytest.approx(math.e)
    assert compute_losses(make_tiny_base(), None, []) == []


def test_row_to_dict_round_trips_without_answers() -> None:
    base = make_tiny_base()
    card = ScorecardRunner(
        base, None, MATERIAL, VowelJudge(), KeywordEncoder(), CONFIG
    ).measure_model("base", base)
    data = row_to_dict(card)
    text = json.dumps(data, allow_nan=False)
    assert not any(a and a in text for one in card.sets.values() for a in one.answers)
    again = row_from_dict(json.loads(text))
    assert row_to_dict(again) == data
    assert again.membership == card.membership
    before, after = (figures.harmful_rate(one.sets["unseen"]) for one in (card, again))
    assert (before.count, before.total) == (after.count, after.total)
