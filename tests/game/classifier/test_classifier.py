"""The classifier of word relations: what it learns from, and what is left when nothing helps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from idiolect.errors import DataError, IntegrityError, MismatchError
from idiolect.game.classifier.examples import (
    Example,
    KnownPairs,
    add_false_pairs,
    from_game,
    from_lexicon,
)
from idiolect.game.classifier.features import FeatureExtractor
from idiolect.game.classifier.fit import INVERSE_PENALTIES, FeatureMatrix, StageFitter
from idiolect.game.classifier.judge import compute_auc_by_origin, compute_metrics
from idiolect.game.classifier.likelihood import SCORE_NAMES, LikelihoodScorer
from idiolect.game.classifier.model import Kind, RelationModel, load_models, save_models
from idiolect.game.classifier.train import (
    ClassifierConfig,
    choose_best_kind,
    compare_variants,
    load_classifier,
    split_pairs,
    train_classifier,
)
from idiolect.game.export.pairs import PairRow
from idiolect.models.tiny import tiny_base
from idiolect.storage.manifest import Manifest

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
    true = from_lexicon(LEXICON, "meronyms", a_word=2, seed=1)
    assert len(true) == 240 and all(e.related for e in true)
    known = KnownPairs(LEXICON)
    pairs = add_false_pairs(true, known, LEXICON, seed=1)
    false = [e for e in pairs if not e.related]
    assert len(false) == len(true)
    assert not any(known(e.relation, e.base_word, e.answer) for e in false)
    assert {e.how for e in false} == {"other word", "reversed", "other relation"}
    answers = {e.answer for e in true}
    assert all(e.answer in answers for e in false if e.how == "other word")
    assert all(e.base_word in answers for e in false if e.how == "reversed")
    assert all("kind" in e.answer for e in false if e.how == "other relation")
    again = add_false_pairs(true, known, LEXICON, seed=1)
    assert again == pairs and add_false_pairs(true, known, LEXICON, seed=2) != pairs


def test_a_pair_and_its_reverse_that_both_hold_are_not_used_against_each_other() -> None:
    both = {"synonyms": {"big": ["large"], "large": ["big"], "small": ["little"]}}
    true = from_lexicon(both, "synonyms", a_word=9, seed=0)
    false = [e for e in add_false_pairs(true, KnownPairs(both), both, seed=0) if not e.related]
    assert not {("big", "large"), ("large", "big")} & {e.word_pair for e in false}


def test_no_base_word_is_in_two_parts() -> None:
    game = [pair_row(w, f"{w}-partx", players=5) for w in WORDS[:40]]
    game += [pair_row(w, f"{w}-kindx", yes=1, no=5) for w in WORDS[:40]]
    config = ClassifierConfig(pairs=150, scored=40)
    parts = split_pairs(LEXICON, "meronyms", game, config)
    words = [{e.base_word for e in part} for part in (parts.many, parts.apart, parts.test)]
    assert min(map(len, words)) > 10
    assert not words[0] & words[1] | words[1] & words[2] | words[0] & words[2]
    true = [sum(e.related for e in part) for part in (parts.many, parts.apart, parts.test)]
    assert [n >= least for n, least in zip(true, (150, 40, 40), strict=True)] == [True] * 3
    assert (
        sum(e.how == "rejected" for part in (parts.many, parts.apart, parts.test) for e in part)
        == 40
    )


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


def numbers(
    *, noise_share: float = 0.0
) -> tuple[FeatureMatrix, FeatureMatrix, FeatureMatrix, list[Example]]:
    """Two parts to learn from and one to be judged on, and the pairs of the last."""
    parts = split_pairs(LEXICON, "meronyms", [], ClassifierConfig(pairs=200, scored=60))
    draw = np.random.default_rng(0)

    def described(pairs: Sequence[Example]) -> tuple[FeatureMatrix, list[Example]]:
        kept = [
            replace(e, related=e.related != wrong)
            for e, wrong in zip(pairs, draw.random(len(pairs)) < noise_share, strict=True)
        ]
        return FeatureMatrix.from_pairs(kept, FeatureExtractor(encoder)), kept

    test, asked = described(parts.test)
    return described(parts.many)[0], described(parts.apart)[0], test, asked


def chances_of(model: RelationModel, numbers: FeatureMatrix) -> NDArray[np.float64]:
    return model.predict_proba(numbers.vectors, numbers.scores)


@pytest.mark.parametrize("kind", ["logistic", "mlp"])
def test_what_can_be_learnt_is_learnt_on_other_words(kind: Kind) -> None:
    many, apart, test, asked = numbers()
    chances = chances_of(StageFitter(many, apart, seed=0).fit(kind, (0,)), test)
    found = compute_metrics(asked, chances, seed=0)
    assert found.auc.value > 0.85 and found.auc.low <= found.auc.value <= found.auc.high
    assert found.brier.value < 0.2
    assert found.auc.value == pytest.approx(roc_auc_score([e.related for e in asked], chances))
    assert set(compute_auc_by_origin(asked, chances)) <= {
        "other word",
        "reversed",
        "other relation",
    }


def test_the_majority_knows_nothing() -> None:
    many, apart, test, _ = numbers()
    chances = chances_of(StageFitter(many, apart, seed=0).fit("scores", ()), test)
    assert np.ptp(chances) == 0 and chances[0] == pytest.approx(apart.labels.mean())


def test_a_model_is_what_scikit_learn_fitted() -> None:
    """Our two stages against scikit-learn's own prediction from the same numbers."""
    many, apart, test, _ = numbers()
    model = StageFitter(many, apart, seed=0).fit("logistic", (0,))
    middle, spread = many.vectors.mean(axis=0, dtype=float), many.vectors.std(axis=0, dtype=float)
    near = []
    for strength in INVERSE_PENALTIES:
        first = LogisticRegression(C=strength, max_iter=300)
        first.fit((many.vectors - middle) / spread, many.labels)
        stacked, asked = (
            np.column_stack([first.decision_function((d.vectors - middle) / spread), d.scores])
            for d in (apart, test)
        )
        last = make_pipeline(StandardScaler(), LogisticRegression(C=1.0)).fit(stacked, apart.labels)
        near.append(np.abs(last.predict_proba(asked)[:, 1] - chances_of(model, test)).max())
    assert min(near) < 1e-6


def test_chances_are_as_often_right_as_they_say() -> None:
    """With every third label wrong no honest classifier is sure."""
    many, apart, test, asked = numbers(noise_share=0.33)
    model = StageFitter(many, apart, seed=0).fit("mlp", (0,))
    found = compute_metrics(asked, chances_of(model, test), seed=0)
    assert found.brier.value < 0.27 and found.calibration_error.value < 0.2


def test_scores_alone_do_not_look_at_the_vectors() -> None:
    many, apart, test, _ = numbers()
    model = StageFitter(many, apart, seed=0).fit("scores", (0,))
    other = model.predict_proba(np.zeros_like(test.vectors), test.scores)
    assert (other == chances_of(model, test)).all()


def test_too_few_pairs_are_refused() -> None:
    many, apart, _, asked = numbers()
    few = FeatureMatrix.from_pairs(asked[:12], FeatureExtractor(encoder))
    for part in ((few, apart), (many, few)):
        with pytest.raises(DataError, match="too few to learn from"):
            StageFitter(*part, seed=0).fit("logistic", (0,))


def test_models_are_read_as_they_were_written(tmp_path: Path) -> None:
    many, apart, test, _ = numbers()
    models = {
        "meronyms": StageFitter(many, apart, seed=0).fit("mlp", (0,)),
        "hyponyms": StageFitter(many, apart, seed=0).fit("logistic", ()),
        "synonyms": StageFitter(many, apart, seed=0).fit("scores", (0,)),
    }
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_models(tmp_path / name, models)
    for file in ("weights.safetensors", "models.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    found = load_models(tmp_path / "one")
    for relation, model in models.items():
        assert (chances_of(found[relation], test) == chances_of(model, test)).all()
    (tmp_path / "one" / "weights.safetensors").write_bytes(b"no")
    with pytest.raises(IntegrityError):
        load_models(tmp_path / "one")


def test_every_way_is_compared_and_the_chosen_one_fits_words_apart_best() -> None:
    parts = split_pairs(LEXICON, "meronyms", [], ClassifierConfig(pairs=200, scored=60))
    models, chances = compare_variants(parts, FeatureExtractor(encoder), seed=0)
    assert set(models) == {"majority", "cosine alone", "vectors", "logistic", "mlp"}
    assert all(len(p) == len(parts.test) for p in chances.values())
    assert choose_best_kind(models) == min(("logistic", "mlp"), key=lambda kind: models[kind].loss)


def test_a_classifier_from_examples_to_probabilities(tmp_path: Path) -> None:
    describe = FeatureExtractor(encoder)
    game = [pair_row(w, f"{w}-partx", players=5) for w in WORDS[:40]]
    out = tmp_path / "classifier"
    summaries = train_classifier(
        LEXICON,
        out,
        describe,
        ClassifierConfig(pairs=150, scored=60),
        game=game,
        contributors=("7",),
    )
    assert [s.relation for s in summaries] == ["hyponyms", "meronyms"]
    assert [s.game_pairs > 20 for s in summaries] == [False, True]
    for summary in summaries:
        assert summary.judged[summary.chosen].auc.value > summary.judged["majority"].auc.value
    assert Manifest.load(out, "classifier").contributors == ("7",)
    found = load_classifier(out, describe)
    asked = [
        Example(relation="meronyms", base_word=base, answer=answer, related=True)
        for base, answer in (("w1", "w1-part9"), ("w1", "w2-part9"))
    ]
    yes, no = found.predict_proba(asked)
    assert yes > no
    with pytest.raises(MismatchError, match="knows no synonyms"):
        found.predict_proba([Example(relation="synonyms", base_word="a", answer="b", related=True)])
    more = FeatureExtractor(encoder, lambda pairs: np.zeros((len(pairs), 1), np.float32), ("more",))
    with pytest.raises(MismatchError, match="trained on cosine"):
        load_classifier(out, more)
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

    found = LikelihoodScorer(base, batch=2)(pairs)
    assert found.shape == (4, len(SCORE_NAMES))
    for row, pair in zip(found, pairs, strict=True):
        ahead, n = nats(f"One part of {pair.base_word} is", pair.answer)
        prior, _ = nats("One part of something is", pair.answer)
        start = f"{pair.answer} is a part of"
        back, m = nats(start[0].upper() + start[1:], pair.base_word)
        prior_back, _ = nats("Something is a part of", pair.base_word)
        wanted = [prior - ahead, prior_back - back, -ahead / n, -back / m]
        np.testing.assert_allclose(row, wanted, rtol=1e-3, atol=1e-3)
