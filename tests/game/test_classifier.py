"""The classifier of word relations: what it learns from, and what is left when nothing helps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from idiolect.errors import DataError, IntegrityError, MismatchError
from idiolect.game.classifier.examples import (
    Example,
    Known,
    from_game,
    from_lexicon,
    side,
    with_false_pairs,
)
from idiolect.game.classifier.features import Describer, Features
from idiolect.game.classifier.fit import fit
from idiolect.game.classifier.judge import auc_by_how, judged
from idiolect.game.classifier.likelihood import NAMES, Likelihoods
from idiolect.game.classifier.model import load_models, save_models
from idiolect.game.classifier.train import (
    ClassifierConfig,
    load_classifier,
    split_examples,
    train_classifier,
)
from idiolect.game.data.pairs import PairRow
from idiolect.models.tiny import tiny_base

WORDS = [f"w{n}" for n in range(120)]
LEXICON = {
    "meronyms": {w: [f"{w}-part{n}" for n in range(3)] for w in WORDS},
    "hyponyms": {w: [f"{w}-kind{n}" for n in range(2)] for w in WORDS[:60]},
}
WIDTH = 16


def noise(text: str, size: int = WIDTH) -> NDArray[np.float32]:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def encoder(texts: Sequence[str]) -> NDArray[np.float32]:
    """Parts and kinds of a word lie near it, parts on one side and kinds on the other."""
    rows = []
    for text in texts:
        head = text.split("-")[0]
        vector = noise(head) + 0.3 * noise(text)
        vector[0] += 4.0 * ("part" in text) - 4.0 * ("kind" in text)
        rows.append(vector / np.linalg.norm(vector))
    return np.stack(rows).astype(np.float32)


def pair_row(
    base_word: str, answer: str, *, players: int = 0, yes: int = 0, no: int = 0
) -> PairRow:
    return PairRow(
        relation="meronyms",
        base_word=base_word,
        answer=answer,
        players=players,
        asked=9,
        given=players,
        rounds=9,
        share=players / 9,
        in_wordnet=False,
        confirmed=yes,
        rejected=no,
        agreement=None,
        agreement_low=None,
        agreement_high=None,
    )


def test_false_pairs_are_false_and_made_of_the_same_words() -> None:
    true = from_lexicon(LEXICON, "meronyms", most=200, a_word=2, seed=1)
    assert len(true) == 200 and all(e.related for e in true)
    known = Known(LEXICON)
    pairs = with_false_pairs(true, known, LEXICON, seed=1)
    false = [e for e in pairs if not e.related]
    assert len(false) == len(true)
    assert not any(known(e.relation, e.base_word, e.answer) for e in false)
    assert {e.how for e in false} == {"other word", "reversed", "other relation"}
    answers = {e.answer for e in true}
    assert all(e.answer in answers for e in false if e.how == "other word")
    assert all(e.base_word in answers for e in false if e.how == "reversed")
    assert all("kind" in e.answer for e in false if e.how == "other relation")
    again = with_false_pairs(true, known, LEXICON, seed=1)
    assert again == pairs and with_false_pairs(true, known, LEXICON, seed=2) != pairs


def test_a_pair_and_its_reverse_that_both_hold_are_not_used_against_each_other() -> None:
    both = {"synonyms": {"big": ["large"], "large": ["big"], "small": ["little"]}}
    true = from_lexicon(both, "synonyms", most=9, a_word=9, seed=0)
    false = [e for e in with_false_pairs(true, Known(both), both, seed=0) if not e.related]
    assert not {("big", "large"), ("large", "big")} & {e.words for e in false}


def test_no_base_word_is_on_both_sides() -> None:
    config = ClassifierConfig(pairs=300)
    train, test = split_examples(LEXICON, "meronyms", [], config)
    sides = [{e.base_word for e in part} for part in (train, test)]
    assert min(map(len, sides)) > 10 and not sides[0] & sides[1]


def test_players_make_true_and_false_pairs() -> None:
    rows = [
        pair_row("knife", "blade", players=3),
        pair_row("knife", "song", players=2),
        pair_row("knife", "wing", yes=1, no=3),
        pair_row("knife", "edge", yes=3, no=1),
        pair_row("knife", "rust", players=4, yes=1, no=3),
    ]
    found = {e.answer: e.related for e in from_game(rows, "meronyms")}
    assert found == {"blade": True, "wing": False, "edge": True, "rust": False}
    assert from_game(rows, "synonyms") == []


def learnt(count: int = 160) -> tuple[list[Example], Features]:
    true = from_lexicon(LEXICON, "meronyms", most=count, a_word=2, seed=3)
    pairs = with_false_pairs(true, Known(LEXICON), LEXICON, seed=3)
    return pairs, Describer(encoder)(pairs)


@pytest.mark.parametrize("kind", ["logistic", "mlp"])
def test_what_can_be_learnt_is_learnt_on_other_words(kind: str) -> None:
    pairs, features = learnt()
    half = [side(e.base_word, 9) < 50 for e in pairs]
    rows = [n for n, first in enumerate(half) if first]
    others = [n for n, first in enumerate(half) if not first]
    model = fit([pairs[n] for n in rows], features.take(rows), kind, seed=0)  # pyright: ignore[reportArgumentType]
    chances = model.probabilities(features.take(others))
    asked = [pairs[n] for n in others]
    found = judged(asked, chances, seed=0)
    assert found.auc.value > 0.85 and found.auc.low <= found.auc.value <= found.auc.high
    assert found.brier.value < 0.2
    assert found.auc.value == pytest.approx(roc_auc_score([e.related for e in asked], chances))
    assert set(auc_by_how(asked, chances)) == {"other word", "reversed", "other relation"}


def test_the_majority_knows_nothing() -> None:
    pairs, features = learnt()
    model = fit(pairs, features, "majority", seed=0)
    chances = model.probabilities(features)
    assert np.ptp(chances) == 0 and chances[0] == pytest.approx(0.5, abs=0.1)


def test_a_model_is_what_scikit_learn_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our forward against scikit-learn's, through standardising and calibration."""
    fitted: list[LogisticRegression] = []
    plain = LogisticRegression.fit

    def spy(self: LogisticRegression, *args: object, **more: object) -> LogisticRegression:
        fitted.append(self)
        return plain(self, *args, **more)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(LogisticRegression, "fit", spy)
    pairs, features = learnt()
    model = fit(pairs, features, "logistic", seed=0)
    x = (features.values - model.mean) / model.scale
    same = [
        m
        for m in fitted
        if m.coef_.shape == (1, x.shape[1]) and np.allclose(m.coef_[0], model.layers[0][0][:, 0])
    ]
    assert len(same) == 1
    np.testing.assert_allclose(same[0].decision_function(x), model.scores(features), rtol=1e-6)


def test_chances_are_calibrated_where_scores_are_not() -> None:
    """Scores that are too sure are pulled back: with labels flipped at random for 30%."""
    pairs, features = learnt(240)
    draw = np.random.default_rng(0)
    wrong = draw.random(len(pairs)) < 0.3
    noisy = [
        Example(relation=e.relation, base_word=e.base_word, answer=e.answer, related=e.related != w)
        for e, w in zip(pairs, wrong, strict=True)
    ]
    model = fit(noisy, features, "mlp", seed=0)
    apart = [n for n, e in enumerate(noisy) if side(e.base_word, 0) < 20]
    asked = [noisy[n] for n in apart]
    calibrated = judged(asked, model.probabilities(features.take(apart)), seed=0)
    raw = judged(asked, 1 / (1 + np.exp(-model.scores(features.take(apart)))), seed=0)
    assert calibrated.brier.value < raw.brier.value


def test_too_few_pairs_are_refused() -> None:
    pairs, features = learnt()
    with pytest.raises(DataError, match="too few"):
        fit(pairs[:6], features.take(range(6)), "logistic", seed=0)


def test_models_are_read_as_they_were_written(tmp_path: Path) -> None:
    pairs, features = learnt()
    models = {
        "meronyms": fit(pairs, features, "mlp", seed=0),
        "hyponyms": fit(pairs, features, "logistic", seed=0),
    }
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_models(tmp_path / name, models)
    for file in ("weights.safetensors", "models.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    found = load_models(tmp_path / "one")
    for relation, model in models.items():
        one, other = (m.probabilities(features) for m in (found[relation], model))
        assert (one == other).all()
    (tmp_path / "one" / "weights.safetensors").write_bytes(b"no")
    with pytest.raises(IntegrityError):
        load_models(tmp_path / "one")


def test_a_classifier_from_examples_to_probabilities(tmp_path: Path) -> None:
    describe = Describer(encoder)
    game = [pair_row(w, f"{w}-partx", players=5) for w in WORDS[:40]]
    out = tmp_path / "classifier"
    summaries = train_classifier(
        LEXICON, out, describe, ClassifierConfig(pairs=200), game=game, contributors=("7",)
    )
    assert [s.relation for s in summaries] == ["hyponyms", "meronyms"]
    assert [s.game_pairs > 20 for s in summaries] == [False, True]
    for summary in summaries:
        assert set(summary.judged) == {"cosine", "majority", "logistic", "mlp"}
        best = summary.judged[summary.chosen]
        assert best.auc.value > summary.judged["majority"].auc.value == 0.5
    found = load_classifier(out, describe)
    asked = [
        Example(relation="meronyms", base_word=base, answer=answer, related=True)
        for base, answer in (("w1", "w1-part9"), ("w1", "w2-part9"))
    ]
    yes, no = found.probabilities(asked)
    assert yes > no
    with pytest.raises(MismatchError, match="knows no synonyms"):
        found.probabilities([Example(relation="synonyms", base_word="a", answer="b", related=True)])
    with pytest.raises(MismatchError, match="trained on cosine"):
        load_classifier(out, Describer(encoder, lambda pairs: np.zeros((0, 1)), ("more",)))  # pyright: ignore[reportArgumentType, reportReturnType]
    with pytest.raises(MismatchError):
        load_classifier(out, describe, base="another")


def test_the_likelihoods_are_the_models_own() -> None:
    """Words that end one sentence are scored together; against one forward for each."""
    import torch

    base = tiny_base(1)
    pairs = [
        Example(relation="meronyms", base_word=b, answer=a, related=True)
        for b, a in (("knife", "blade"), ("knife", "b"), ("k", "tip of it"), ("a b", "b"))
    ]

    def nats(start: str, word: str) -> tuple[float, int]:
        ids = base.tokenizer(start).input_ids
        end = base.tokenizer(f" {word}", add_special_tokens=False).input_ids
        with torch.inference_mode():
            logits = base.model(torch.tensor([[*ids, *end]])).logits[0]
        chances = torch.log_softmax(logits.double(), -1)
        places = range(len(ids) - 1, len(ids) + len(end) - 1)
        return -float(sum(chances[p, t] for p, t in zip(places, end, strict=True))), len(end)

    found = Likelihoods(base, batch=2)(pairs)
    assert found.shape == (4, len(NAMES))
    for row, pair in zip(found, pairs, strict=True):
        ahead, n = nats(f"One part of {pair.base_word} is", pair.answer)
        prior, _ = nats("One part of something is", pair.answer)
        start = f"{pair.answer} is a part of"
        back, m = nats(start[0].upper() + start[1:], pair.base_word)
        prior_back, _ = nats("Something is a part of", pair.base_word)
        wanted = [prior - ahead, prior_back - back, -ahead / n, -back / m]
        np.testing.assert_allclose(row, wanted, rtol=1e-3, atol=1e-3)
