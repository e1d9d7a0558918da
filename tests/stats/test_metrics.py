"""Tests of the metrics against scikit-learn and known values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, mean_absolute_error, root_mean_squared_error

from idiolect.errors import DataError, UsageError
from idiolect.stats.metrics import METRICS, ScoredAnswer, get_metric

TAGS = ("action", "comedy", "fantasy")
labels = st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), min_size=1, max_size=20)
ratings = st.lists(
    st.tuples(st.integers(1, 5), st.sampled_from(["1", "2.5", "4", " 5 "])), min_size=1, max_size=20
)


def make_answers(*pairs: tuple[str, str], choices: tuple[str, ...] = ()) -> list[ScoredAnswer]:
    """Return answers of (prediction, gold) pairs."""
    return [ScoredAnswer(prediction=p, gold=g, choices=choices) for p, g in pairs]


def compute_score(name: str, answers: list[ScoredAnswer]) -> float:
    score = get_metric(name).score(answers)
    assert score is not None
    return score


@settings(deadline=None)
@given(labels)
def test_macro_f1_equals_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    # scikit-learn takes gold labels first.
    predictions, golds = zip(*pairs, strict=True)
    expected = f1_score(golds, predictions, average="macro")
    assert compute_score("macro_f1", make_answers(*pairs)) == pytest.approx(expected)


def test_macro_f1_answer_outside_choices_adds_no_label() -> None:
    answers = make_answers(("action", "action"), ("no idea", "comedy"), choices=TAGS)
    assert compute_score("macro_f1", answers) == pytest.approx((1.0 + 0.0) / 2)
    assert get_metric("macro_f1").count_unreadable(answers) == 1
    assert get_metric("accuracy").count_unreadable(answers) == 1
    assert get_metric("accuracy").count_unreadable(make_answers(("anything", "action"))) == 0


def test_accuracy_ignores_surrounding_space() -> None:
    assert compute_score("accuracy", make_answers((" [1]\n", "[1]"), ("[1]", "[2]"))) == 0.5


@settings(deadline=None)
@given(ratings)
def test_mae_and_rmse_equal_scikit_learn(pairs: list[tuple[int, str]]) -> None:
    answers = make_answers(*((text, str(gold)) for gold, text in pairs))
    golds, predictions = [g for g, _ in pairs], [float(t) for _, t in pairs]
    assert compute_score("mae", answers) == pytest.approx(mean_absolute_error(golds, predictions))
    assert compute_score("rmse", answers) == pytest.approx(
        root_mean_squared_error(golds, predictions)
    )


@pytest.mark.parametrize(("gold", "error"), [("1", 4), ("2", 3), ("3", 2), ("4", 3), ("5", 4)])
@pytest.mark.parametrize("text", ["", "I liked it", "four", "nan", "inf"])
def test_mae_counts_unreadable_rating_as_farthest(gold: str, error: int, text: str) -> None:
    answers = make_answers((text, gold))
    assert compute_score("mae", answers) == error
    assert get_metric("mae").count_unreadable(answers) == 1


def test_mae_refuses_gold_rating_that_is_not_a_number() -> None:
    with pytest.raises(DataError, match="'great' is not a number"):
        get_metric("mae").score(make_answers(("4", "great")))


def test_rouge_matches_known_values() -> None:
    answers = make_answers(("the cat sat", "the cat was sitting"), ("", "a title"))
    # 2 of 3 and 2 of 4 words match: F = 4/7. Without stemming, "sat" and "sitting" differ.
    assert compute_score("rouge_1", answers) == pytest.approx((4 / 7 + 0) / 2)
    assert compute_score("rouge_l", make_answers(("b a c", "a b c"))) == pytest.approx(2 / 3)
    assert compute_score("rouge_1", make_answers(("B a c!", "a b c"))) == 1.0


def test_rouge_does_not_stem() -> None:
    assert compute_score("rouge_1", make_answers(("models", "model"))) == 0.0


def test_perplexity_weights_tokens() -> None:
    answers = [
        ScoredAnswer(prediction="", gold="a", nll=3.0, tokens=1),
        ScoredAnswer(prediction="", gold="b c d", nll=1.0, tokens=3),
    ]
    assert compute_score("perplexity", answers) == pytest.approx(math.e)
    people = {"ann": answers[:1], "bob": answers[1:]}
    scores = get_metric("perplexity").score_people(people)
    assert scores == {"ann": pytest.approx(math.exp(3)), "bob": pytest.approx(math.exp(1 / 3))}


def test_perplexity_requires_every_likelihood() -> None:
    whole = ScoredAnswer(prediction="", gold="a", nll=3.0, tokens=1)
    lacking = ScoredAnswer(prediction="", gold="a")
    assert get_metric("perplexity").score([whole, lacking]) is None
    assert get_metric("perplexity").score_people({"ann": [whole], "bob": [lacking]}) is None


@pytest.mark.parametrize("nll", [math.nan, math.inf, -1.0])
def test_perplexity_refuses_invalid_likelihood(nll: float) -> None:
    with pytest.raises(DataError, match="nats per token"):
        get_metric("perplexity").score([ScoredAnswer(prediction="", gold="a", nll=nll, tokens=1)])


@settings(deadline=None)
@given(labels)
def test_text_metrics_are_best_for_correct_answers(pairs: list[tuple[str, str]]) -> None:
    right = make_answers(*((g, g) for _, g in pairs))
    for name in ("accuracy", "macro_f1", "rouge_1", "rouge_l"):
        assert compute_score(name, right) == pytest.approx(1.0)
        assert 0 <= compute_score(name, make_answers(*pairs)) <= 1


def test_get_metric_and_score_refuse_unknown_name_and_no_answers() -> None:
    with pytest.raises(UsageError, match="unknown metric 'bleu'; known: accuracy"):
        get_metric("bleu")
    for one in METRICS.values():
        with pytest.raises(UsageError, match="no answers"):
            one.score([])
