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


def outcomes(*pairs: tuple[str, str], choices: tuple[str, ...] = ()) -> list[ScoredAnswer]:
    """Outcomes of (prediction, gold) pairs."""
    return [ScoredAnswer(prediction=p, gold=g, choices=choices) for p, g in pairs]


def value(name: str, answers: list[ScoredAnswer]) -> float:
    score = get_metric(name).score(answers)
    assert score is not None
    return score


@settings(deadline=None)
@given(labels)
def test_macro_f1_is_scikit_learns(pairs: list[tuple[str, str]]) -> None:
    predictions, golds = zip(*pairs, strict=True)
    expected = f1_score(golds, predictions, average="macro")
    assert value("macro_f1", outcomes(*pairs)) == pytest.approx(expected)


def test_an_answer_outside_the_choices_is_wrong_but_no_label_of_its_own() -> None:
    answers = outcomes(("action", "action"), ("no idea", "comedy"), choices=TAGS)
    assert value("macro_f1", answers) == pytest.approx((1.0 + 0.0) / 2)
    assert get_metric("macro_f1").count_unreadable(answers) == 1
    assert get_metric("accuracy").count_unreadable(answers) == 1
    assert get_metric("accuracy").count_unreadable(outcomes(("anything", "action"))) == 0


def test_accuracy_ignores_space_around_the_answer() -> None:
    assert value("accuracy", outcomes((" [1]\n", "[1]"), ("[1]", "[2]"))) == 0.5


@settings(deadline=None)
@given(ratings)
def test_errors_are_scikit_learns(pairs: list[tuple[int, str]]) -> None:
    answers = outcomes(*((text, str(gold)) for gold, text in pairs))
    golds, predictions = [g for g, _ in pairs], [float(t) for _, t in pairs]
    assert value("mae", answers) == pytest.approx(mean_absolute_error(golds, predictions))
    assert value("rmse", answers) == pytest.approx(root_mean_squared_error(golds, predictions))


@pytest.mark.parametrize(("gold", "error"), [("1", 4), ("2", 3), ("3", 2), ("4", 3), ("5", 4)])
@pytest.mark.parametrize("text", ["", "I liked it", "four", "nan", "inf"])
def test_a_rating_that_is_no_number_counts_as_the_farthest(
    gold: str, error: int, text: str
) -> None:
    answers = outcomes((text, gold))
    assert value("mae", answers) == error
    assert get_metric("mae").count_unreadable(answers) == 1


def test_a_gold_rating_that_is_no_number_is_refused() -> None:
    with pytest.raises(DataError, match="'great' is not a number"):
        get_metric("mae").score(outcomes(("4", "great")))


def test_rouge_known_values() -> None:
    answers = outcomes(("the cat sat", "the cat was sitting"), ("", "a title"))
    # 2 of 3 and 2 of 4 words: F = 4/7; without stemming, "sat" and "sitting" differ anyway.
    assert value("rouge_1", answers) == pytest.approx((4 / 7 + 0) / 2)
    assert value("rouge_l", outcomes(("b a c", "a b c"))) == pytest.approx(2 / 3)
    assert value("rouge_1", outcomes(("B a c!", "a b c"))) == 1.0


def test_rouge_does_not_stem() -> None:
    assert value("rouge_1", outcomes(("models", "model"))) == 0.0


def test_perplexity_weighs_tokens() -> None:
    answers = [
        ScoredAnswer(prediction="", gold="a", nll=3.0, tokens=1),
        ScoredAnswer(prediction="", gold="b c d", nll=1.0, tokens=3),
    ]
    assert value("perplexity", answers) == pytest.approx(math.e)
    people = {"ann": answers[:1], "bob": answers[1:]}
    scores = get_metric("perplexity").score_people(people)
    assert scores == {"ann": pytest.approx(math.exp(3)), "bob": pytest.approx(math.exp(1 / 3))}


def test_perplexity_needs_every_likelihood() -> None:
    whole = ScoredAnswer(prediction="", gold="a", nll=3.0, tokens=1)
    lacking = ScoredAnswer(prediction="", gold="a")
    assert get_metric("perplexity").score([whole, lacking]) is None
    assert get_metric("perplexity").score_people({"ann": [whole], "bob": [lacking]}) is None


@pytest.mark.parametrize("nll", [math.nan, math.inf, -1.0])
def test_a_broken_likelihood_is_refused(nll: float) -> None:
    with pytest.raises(DataError, match="nats per token"):
        get_metric("perplexity").score([ScoredAnswer(prediction="", gold="a", nll=nll, tokens=1)])


@settings(deadline=None)
@given(labels)
def test_every_text_metric_is_best_for_right_answers(pairs: list[tuple[str, str]]) -> None:
    right = outcomes(*((g, g) for _, g in pairs))
    for name in ("accuracy", "macro_f1", "rouge_1", "rouge_l"):
        assert value(name, right) == pytest.approx(1.0)
        assert 0 <= value(name, outcomes(*pairs)) <= 1


def test_unknown_names_and_empty_sets_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown metric 'bleu'; known: accuracy"):
        get_metric("bleu")
    for one in METRICS.values():
        with pytest.raises(UsageError, match="no answers"):
            one.score([])
