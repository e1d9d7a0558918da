"""The classifier of word relations: examples, fitting, metrics, files, and likelihood scores."""

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
from idiolect.models.logits import has_plain_head
from idiolect.models.structure import find_decoder
from idiolect.models.tiny import make_tiny_base
from idiolect.models.ways import Ways
from idiolect.storage.manifest import Manifest

WORDS = [f"w{n}" for n in range(120)]
LEXICON = {
    "meronyms": {w: [f"{w}-part{n}" for n in range(3)] for w in WORDS},
    "hyponyms": {w: [f"{w}-kind{n}" for n in range(2)] for w in WORDS[:60]},
}
WIDTH = 16


def hash_to_vector(text: str, size: int = WIDTH) -> NDArray[np.float32]:
    """A random normal vector that depends only on the text."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def encoder(texts: Sequence[str]) -> NDArray[np.float32]:
    """Unit vectors: parts and kinds are near their word, and differ in the sign of dimension 0."""
    rows = []
    for text in texts:
        head = text.split("-")[0]
        vector = hash_to_vector(head) + 0.3 * hash_to_vector(text)
        vector[0] += 4.0 * ("part" in text) - 4.0 * ("kind" in text)
        rows.append(vector / np.linalg.norm(vector))
    return np.stack(rows).astype(np.float32)


def make_pair_row(
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


def test_add_false_pairs_reuses_words_of_true_pairs() -> None:
    true = from_lexicon(LEXICON, "meronyms", per_word=2, seed=1)
    assert len(true) == 240 and all(e.related for e in true)
    known = KnownPairs(LEXICON)
    pairs = add_false_pairs(true, known, LEXICON, seed=1)
    false = [e for e in pairs if not e.related]
    assert len(false) == len(true)
    assert not any(known(e.relation, e.base_word, e.answer) for e in false)
    assert {e.origin for e in false} == {"other word", "reversed", "other relation"}
    answers = {e.answer for e in true}
    assert all(e.answer in answers for e in false if e.origin == "other word")
    assert all(e.base_word in answers for e in false if e.origin == "reversed")
    assert all("kind" in e.answer for e in false if e.origin == "other relation")
    again = add_false_pairs(true, known, LEXICON, seed=1)
    assert again == pairs and add_false_pairs(true, known, LEXICON, seed=2) != pairs


def test_add_false_pairs_never_reverses_symmetric_pairs() -> None:
    both = {"synonyms": {"big": ["large"], "large": ["big"], "small": ["little"]}}
    true = from_lexicon(both, "synonyms", per_word=9, seed=0)
    false = [e for e in add_false_pairs(true, KnownPairs(both), both, seed=0) if not e.related]
    assert not {("big", "large"), ("large", "big")} & {e.word_pair for e in false}


def test_split_pairs_puts_each_base_word_in_one_part() -> None:
    game = [make_pair_row(w, f"{w}-partx", players=5) for w in WORDS[:40]]
    game += [make_pair_row(w, f"{w}-kindx", yes=1, no=5) for w in WORDS[:40]]
    config = ClassifierConfig(pairs=150, scored=40)
    parts = split_pairs(LEXICON, "meronyms", game, config)
    words = [
        {e.base_word for e in part} for part in (parts.first_stage, parts.last_stage, parts.test)
    ]
    assert min(map(len, words)) > 10
    assert not words[0] & words[1] | words[1] & words[2] | words[0] & words[2]
    true = [
        sum(e.related for e in part) for part in (parts.first_stage, parts.last_stage, parts.test)
    ]
    assert [n >= least for n, least in zip(true, (150, 40, 40), strict=True)] == [True] * 3
    assert (
        sum(
            e.origin == "rejected"
            for part in (parts.first_stage, parts.last_stage, parts.test)
            for e in part
        )
        == 40
    )


def test_from_game_labels_pairs_by_players_and_votes() -> None:
    rows = [
        make_pair_row("knife", "blade", players=3),
        make_pair_row("knife", "song", players=2),
        make_pair_row("knife", "wing", yes=1, no=3),
        make_pair_row("knife", "edge", yes=3, no=1),
        make_pair_row("knife", "rust", players=4, yes=1, no=3),
    ]
    found = {e.answer: e.related for e in from_game(rows, "meronyms")}
    assert found == {"blade": True, "wing": False, "edge": True, "rust": False}
    assert from_game(rows, "synonyms") == []


def extract_features(
    *, noise_share: float = 0.0
) -> tuple[FeatureMatrix, FeatureMatrix, FeatureMatrix, list[Example]]:
    """Features of the three parts of the pairs, and the pairs of the test part.

    ``noise_share`` is the share of labels that are flipped.
    """
    parts = split_pairs(LEXICON, "meronyms", [], ClassifierConfig(pairs=200, scored=60))
    draw = np.random.default_rng(0)

    def extract(pairs: Sequence[Example]) -> tuple[FeatureMatrix, list[Example]]:
        kept = [
            replace(e, related=e.related != wrong)
            for e, wrong in zip(pairs, draw.random(len(pairs)) < noise_share, strict=True)
        ]
        return FeatureMatrix.from_pairs(kept, FeatureExtractor(encoder)), kept

    test, asked = extract(parts.test)
    return extract(parts.first_stage)[0], extract(parts.last_stage)[0], test, asked


def predict(model: RelationModel, features: FeatureMatrix) -> NDArray[np.float64]:
    return model.predict_proba(features.vectors, features.scores)


@pytest.mark.parametrize("kind", ["logistic", "mlp"])
def test_stage_fitter_generalizes_to_new_words(kind: Kind) -> None:
    first_stage, last_stage, test, asked = extract_features()
    probabilities = predict(StageFitter(first_stage, last_stage, seed=0).fit(kind, (0,)), test)
    found = compute_metrics(asked, probabilities, seed=0)
    assert found.auc.value > 0.85 and found.auc.low <= found.auc.value <= found.auc.high
    assert found.brier.value < 0.2
    assert found.auc.value == pytest.approx(
        roc_auc_score([e.related for e in asked], probabilities)
    )
    assert set(compute_auc_by_origin(asked, probabilities)) <= {
        "other word",
        "reversed",
        "other relation",
    }


def test_stage_fitter_without_inputs_predicts_majority() -> None:
    first_stage, last_stage, test, _ = extract_features()
    probabilities = predict(StageFitter(first_stage, last_stage, seed=0).fit("scores", ()), test)
    assert np.ptp(probabilities) == 0 and probabilities[0] == pytest.approx(
        last_stage.labels.mean()
    )


def test_relation_model_matches_scikit_learn_predictions() -> None:
    """Compares our two stages with a scikit-learn pipeline on the same features."""
    first_stage, last_stage, test, _ = extract_features()
    model = StageFitter(first_stage, last_stage, seed=0).fit("logistic", (0,))
    middle, spread = (
        first_stage.vectors.mean(axis=0, dtype=float),
        first_stage.vectors.std(axis=0, dtype=float),
    )
    errors = []
    # The fitter chooses one of the penalties; one of the pipelines must agree.
    for strength in INVERSE_PENALTIES:
        first = LogisticRegression(C=strength, max_iter=300)
        first.fit((first_stage.vectors - middle) / spread, first_stage.labels)
        stacked, asked = (
            np.column_stack([first.decision_function((d.vectors - middle) / spread), d.scores])
            for d in (last_stage, test)
        )
        last = make_pipeline(StandardScaler(), LogisticRegression(C=1.0)).fit(
            stacked, last_stage.labels
        )
        errors.append(np.abs(last.predict_proba(asked)[:, 1] - predict(model, test)).max())
    assert min(errors) < 1e-6


def test_stage_fitter_is_calibrated_on_noisy_labels() -> None:
    """With a third of the labels flipped, confident predictions would be badly calibrated."""
    first_stage, last_stage, test, asked = extract_features(noise_share=0.33)
    model = StageFitter(first_stage, last_stage, seed=0).fit("mlp", (0,))
    found = compute_metrics(asked, predict(model, test), seed=0)
    assert found.brier.value < 0.27 and found.calibration_error.value < 0.2


def test_stage_fitter_with_scores_ignores_vectors() -> None:
    first_stage, last_stage, test, _ = extract_features()
    model = StageFitter(first_stage, last_stage, seed=0).fit("scores", (0,))
    other = model.predict_proba(np.zeros_like(test.vectors), test.scores)
    assert (other == predict(model, test)).all()


def test_stage_fitter_rejects_too_few_pairs() -> None:
    first_stage, last_stage, _, asked = extract_features()
    few = FeatureMatrix.from_pairs(asked[:12], FeatureExtractor(encoder))
    for part in ((few, last_stage), (first_stage, few)):
        with pytest.raises(DataError, match="too few to train on"):
            StageFitter(*part, seed=0).fit("logistic", (0,))


def test_load_models_returns_what_was_saved(tmp_path: Path) -> None:
    first_stage, last_stage, test, _ = extract_features()
    models = {
        "meronyms": StageFitter(first_stage, last_stage, seed=0).fit("mlp", (0,)),
        "hyponyms": StageFitter(first_stage, last_stage, seed=0).fit("logistic", ()),
        "synonyms": StageFitter(first_stage, last_stage, seed=0).fit("scores", (0,)),
    }
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_models(tmp_path / name, models)
    for file in ("weights.safetensors", "models.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    found = load_models(tmp_path / "one")
    for relation, model in models.items():
        assert (predict(found[relation], test) == predict(model, test)).all()
    (tmp_path / "one" / "weights.safetensors").write_bytes(b"no")
    with pytest.raises(IntegrityError):
        load_models(tmp_path / "one")


def test_compare_variants_fits_all_variants() -> None:
    parts = split_pairs(LEXICON, "meronyms", [], ClassifierConfig(pairs=200, scored=60))
    models, probabilities = compare_variants(parts, FeatureExtractor(encoder), seed=0)
    assert set(models) == {"majority", "cosine alone", "vectors", "logistic", "mlp"}
    assert all(len(p) == len(parts.test) for p in probabilities.values())
    assert choose_best_kind(models) == min(("logistic", "mlp"), key=lambda kind: models[kind].loss)


def test_train_classifier_writes_a_loadable_classifier(tmp_path: Path) -> None:
    extractor = FeatureExtractor(encoder)
    game = [make_pair_row(w, f"{w}-partx", players=5) for w in WORDS[:40]]
    out = tmp_path / "classifier"
    # Train: the summaries and the manifest record the players' pairs.
    summaries = train_classifier(
        LEXICON,
        out,
        extractor,
        ClassifierConfig(pairs=150, scored=60),
        game=game,
        contributors=("7",),
    )
    assert [s.relation for s in summaries] == ["hyponyms", "meronyms"]
    assert [s.game_pairs > 20 for s in summaries] == [False, True]
    for summary in summaries:
        assert summary.judged[summary.chosen].auc.value > summary.judged["majority"].auc.value
    assert Manifest.load(out, "classifier").contributors == ("7",)
    # Load and predict.
    found = load_classifier(out, extractor)
    asked = [
        Example(relation="meronyms", base_word=base, answer=answer, related=True)
        for base, answer in (("w1", "w1-part9"), ("w1", "w2-part9"))
    ]
    yes, no = found.predict_proba(asked)
    assert yes > no
    # Unknown relations, other scores and other base models are rejected.
    with pytest.raises(MismatchError, match="no model for synonyms"):
        found.predict_proba([Example(relation="synonyms", base_word="a", answer="b", related=True)])
    more = FeatureExtractor(encoder, lambda pairs: np.zeros((len(pairs), 1), np.float32), ("more",))
    with pytest.raises(MismatchError, match="trained on cosine"):
        load_classifier(out, more)
    with pytest.raises(MismatchError):
        load_classifier(out, extractor, base="another")


def test_likelihood_scorer_runs_single_rows_if_not_batched() -> None:
    pairs = [
        Example(relation="meronyms", base_word=b, answer=a, related=True)
        for b, a in (("knife", "b"), ("k", "tip of it"))
    ]
    expected = LikelihoodScorer(make_tiny_base(1))(pairs)
    base, rows = replace(make_tiny_base(1), ways=Ways(batched=False)), list[int]()
    assert has_plain_head(base.model)  # tried once, on several rows
    find_decoder(base.model).register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    np.testing.assert_allclose(LikelihoodScorer(base)(pairs), expected, rtol=1e-3, atol=1e-3)
    assert len(rows) > 4 and set(rows) == {1}


def test_likelihood_scorer_matches_plain_forward_passes() -> None:
    """Compares the batched scores with one forward pass per completion."""
    import torch

    base = make_tiny_base(1)
    pairs = [
        Example(relation="meronyms", base_word=b, answer=a, related=True)
        for b, a in (("knife", "blade"), ("knife", "b"), ("k", "tip of it"), ("a b", "b"))
    ]

    def compute_nll(start: str, word: str) -> tuple[float, int]:
        """Negative log-likelihood in nats of the word after the beginning, and its tokens."""
        ids = base.tokenizer(start).input_ids
        end = base.tokenizer(f" {word}", add_special_tokens=False).input_ids
        with torch.inference_mode():
            logits = base.model(torch.tensor([[*ids, *end]])).logits[0]
        log_probabilities = torch.log_softmax(logits.double(), -1)
        # The logits at position p predict token p + 1.
        places = range(len(ids) - 1, len(ids) + len(end) - 1)
        total = sum(log_probabilities[p, t] for p, t in zip(places, end, strict=True))
        return -float(total), len(end)

    found = LikelihoodScorer(base, batch=2)(pairs)
    assert found.shape == (4, len(SCORE_NAMES))
    for row, pair in zip(found, pairs, strict=True):
        ahead, n = compute_nll(f"One part of {pair.base_word} is", pair.answer)
        prior, _ = compute_nll("One part of something is", pair.answer)
        start = f"{pair.answer} is a part of"
        back, m = compute_nll(start[0].upper() + start[1:], pair.base_word)
        prior_back, _ = compute_nll("Something is a part of", pair.base_word)
        wanted = [prior - ahead, prior_back - back, -ahead / n, -back / m]
        np.testing.assert_allclose(row, wanted, rtol=1e-3, atol=1e-3)
