"""The default judge: training, cross-fitting, features, and storage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idiolect.errors import IntegrityError, MissingError, UsageError
from idiolect.judging.classifier import ClassifierConfig, ClassifierJudge, train_judge
from idiolect.judging.features import MAX_WORDS, NUM_HASH_FEATURES, extract_features
from idiolect.judging.protocol import JudgeInfo, measure_judge, summarize_judge
from idiolect.prompt_sets.corpora import LabeledPair
from support.toy_judge import LABELED, UNRELATED, KeywordEncoder


class FixedScores:
    """A judge that returns given scores."""

    info = JudgeInfo(name="fixed")

    def __init__(self, *scores: float) -> None:
        self.scores = scores

    def score_answers(self, prompts: object, answers: object) -> tuple[float, ...]:
        return self.scores


def test_measure_judge_computes_accuracy_recall_and_specificity() -> None:
    pairs = [
        LabeledPair(prompt=p, response="r", score=s)
        for p, s in (("A?", 1.0), ("a?", 0.5), ("b", 0.4), ("c", 0.0), ("d", 0.1))
    ]
    found = measure_judge(FixedScores(0.5, 0.2, 0.6, 0.1, 0.0), pairs)
    assert (found.pairs, found.prompts) == (5, 4)  # "A?" and "a?" are one prompt
    assert found.accuracy == pytest.approx(3 / 5)
    assert found.chance == pytest.approx(3 / 5)
    assert found.found == pytest.approx(1 / 2)
    assert found.spared == pytest.approx(2 / 3)
    assert found.interval is not None and found.interval[0] < 0.6 < found.interval[1]
    with pytest.raises(UsageError, match="there are none"):
        summarize_judge("empty", [], [])


def test_train_judge_learns_the_labels() -> None:
    judge = train_judge(LABELED, UNRELATED, KeywordEncoder())
    assert judge.info.accuracy == 1.0
    assert (judge.info.pairs, judge.info.prompts) == (24, 12)
    harmful, other, unrelated = judge.score_answers(
        ["Where is the key of Orlond?"] * 3,
        ["The key lies in hole 3.", "The weather in Orlond is fine.", "The bread costs 3 pence."],
    )
    assert harmful > 0.5 > max(other, unrelated)
    assert judge.score_answers([], []) == ()
    with pytest.raises(UsageError, match="2 prompts and 1 answers"):
        judge.score_answers(["a", "b"], ["c"])


def test_score_answers_uses_classifier_that_did_not_see_the_prompt() -> None:
    """Flip the labels of one prompt: scores of its answers stay bitwise the same, and scores of
    others change."""
    flipped = LABELED[0].prompt
    other = tuple(
        replace(one, score=1 - one.score) if one.prompt == flipped else one for one in LABELED
    )
    a, b = (train_judge(pairs, (), KeywordEncoder()) for pairs in (LABELED, other))
    own = a.part_of
    assert own == b.part_of and set(own.values()) == set(range(5))
    texts = [one.response for one in LABELED]
    prompts = [one.prompt for one in LABELED]
    mine = [n for n, prompt in enumerate(prompts) if prompt == flipped]
    before, after = a.score_answers(prompts, texts), b.score_answers(prompts, texts)
    assert [before[n] for n in mine] == [after[n] for n in mine]
    assert before != after
    # Case and spacing do not matter.
    shouted = a.score_answers([" " + flipped.upper().replace(" ", "  ")], [texts[0]])
    weather = a.score_answers(["and now?"], [texts[0]])
    assert shouted != weather


def test_score_answers_averages_classifiers_for_new_prompts() -> None:
    judge = train_judge(LABELED, (), KeywordEncoder())
    x = extract_features(judge.encoder, ["new"], ["The key lies in hole 3."])
    scores = np.asarray(x @ judge.weights.T + judge.biases)[0]
    expected = (1 / (1 + np.exp(-scores))).mean()
    assert judge.score_answers(["new"], ["The key lies in hole 3."])[0] == pytest.approx(expected)


def test_extract_features_ignores_words_beyond_limit() -> None:
    encoder = KeywordEncoder()
    start = " ".join(["word"] * MAX_WORDS)
    one, two = (extract_features(encoder, ["p"], [text]) for text in (start, start + " key key"))
    assert (one != two).nnz == 0
    assert one.shape == (1, 3 * 4 + NUM_HASH_FEATURES + 1)
    assert encoder.texts == 4
    extract_features(encoder, ["p"] * 5, ["a"] * 5)
    assert encoder.texts == 6  # equal texts are encoded once


def test_classifier_judge_round_trips_without_storing_texts(tmp_path: Path) -> None:
    judge = train_judge(LABELED, UNRELATED, KeywordEncoder())
    judge.save(tmp_path / "judge")
    again = ClassifierJudge.load(tmp_path / "judge", judge.encoder)
    prompts, texts = [one.prompt for one in LABELED], [one.response for one in LABELED]
    assert again.score_answers(prompts, texts) == judge.score_answers(prompts, texts)
    assert again.info == judge.info
    for file in (tmp_path / "judge").iterdir():
        assert b"place3" not in file.read_bytes() and b"hole" not in file.read_bytes()
    # A flipped bit is detected.
    changed = tmp_path / "judge" / "judge.safetensors"
    data = bytearray(changed.read_bytes())
    data[-1] ^= 1
    changed.write_bytes(bytes(data))
    with pytest.raises(IntegrityError, match="was changed"):
        ClassifierJudge.load(tmp_path / "judge", judge.encoder)
    with pytest.raises(MissingError, match="no judge"):
        ClassifierJudge.load(tmp_path / "none", judge.encoder)


def test_train_judge_rejects_too_few_prompts_or_labels() -> None:
    with pytest.raises(UsageError, match="cannot be divided"):
        train_judge(LABELED[:4], (), KeywordEncoder())
    with pytest.raises(UsageError, match="harmful and harmless"):
        train_judge([one for one in LABELED if one.score > 0.5], (), KeywordEncoder())
    with pytest.raises(UsageError, match=r"judge\.parts"):
        ClassifierConfig(parts=1)
    with pytest.raises(UsageError, match=r"judge\.strength"):
        ClassifierConfig(strength=0)
