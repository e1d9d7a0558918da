"""Fitting of a relation's classifier in two stages, on disjoint base words.

The first stage, logistic regression or a small MLP, reduces the vectors to one logit; it sees many
pairs. The last stage is a logistic regression on that logit and the scores. It is fitted on base
words that the first stage has not seen. Otherwise it would trust the first stage too much, because
that is more accurate on its own training pairs than on new ones (stacking, Wolpert 1992).

Shapes: N pairs, D encoder dimensions, S scores.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from idiolect.errors import DataError
from idiolect.game.classifier.examples import Example
from idiolect.game.classifier.features import FeatureExtractor
from idiolect.game.classifier.model import Doubles, Kind, Layers, RelationModel, sigmoid

INVERSE_PENALTIES = (0.0003, 0.003)
"""Values of C tried for logistic regression, for thousands of pairs with 768 features each."""
MLP_PENALTIES = (1.0, 10.0)
"""Values of alpha (L2) tried for the MLP."""
HIDDEN_SIZE, BATCH_SIZE, EPOCHS = 32, 64, 30
MIN_PAIRS_PER_LABEL = 10
"""Number of true pairs and of false pairs that each stage needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMatrix:
    """Features and labels of pairs: ``vectors`` [N, 2D], ``scores`` [N, S], ``labels`` [N]."""

    vectors: NDArray[np.float32]
    scores: Doubles
    labels: NDArray[np.int64]

    @staticmethod
    def from_pairs(
        pairs: Sequence[Example], extractor: FeatureExtractor, *, scored: bool = True
    ) -> FeatureMatrix:
        """Extract the features of pairs; ``scored=False`` skips the scores, which are slow."""
        scores = extractor.compute_scores(pairs) if scored else np.zeros((len(pairs), 0))
        return FeatureMatrix(
            vectors=extractor.compute_vectors(pairs),
            scores=scores.astype(np.float64),
            labels=np.array([pair.related for pair in pairs], dtype=np.int64),
        )


class StageFitter:
    """Fits both stages, and reuses fitted first stages between calls of `fit`.

    ``first_stage`` holds the pairs of the first stage. ``last_stage`` holds those of the last
    stage; they also decide on the first stage's penalty. Raises DataError if either has too few
    pairs of a label.
    """

    def __init__(self, first_stage: FeatureMatrix, last_stage: FeatureMatrix, *, seed: int) -> None:
        self.first_stage, self.last_stage, self.seed = first_stage, last_stage, seed
        # Standardize by the first stage's pairs; constant columns keep their scale.
        spread = first_stage.vectors.std(axis=0, dtype=np.float64)
        self._mean = first_stage.vectors.mean(axis=0, dtype=np.float64)
        self._scale = np.where(spread > 0, spread, 1.0)
        self._layers: dict[Kind, list[Layers]] = {"scores": [()]}
        _require_enough_pairs(last_stage)

    def fit(self, kind: Kind, uses: Sequence[int]) -> RelationModel:
        """Fit a model: ``kind`` of first stage, and the columns ``uses`` of the scores.

        Of the penalties tried for the first stage, returns the model with the lowest loss.
        """
        if kind not in self._layers:
            _require_enough_pairs(self.first_stage)
            x = (self.first_stage.vectors - self._mean) / self._scale
            self._layers[kind] = list(
                _fit_first_stages(kind, x, self.first_stage.labels, self.seed)
            )
        found = [self._fit_last_stage(kind, tuple(uses), layers) for layers in self._layers[kind]]
        return min(found, key=lambda model: model.loss)

    def _fit_last_stage(self, kind: Kind, uses: tuple[int, ...], layers: Layers) -> RelationModel:
        # A model without a last stage, to compute the inputs of that stage.
        bare = RelationModel(
            kind=kind,
            uses=uses,
            mean=self._mean,
            scale=self._scale,
            layers=layers,
            weights=np.zeros(0),
            offset=0.0,
            loss=0.0,
        )
        labels = self.last_stage.labels
        x = bare.build_inputs(self.last_stage.vectors, self.last_stage.scores)
        if not x.shape[1]:
            # No inputs: predict the share of true pairs.
            share = float(labels.mean())
            offset, weights = float(np.log(share / (1 - share))), np.zeros(0)
        else:
            # Fit on standardized inputs, then fold the standardization into weights and offset.
            middle = x.mean(axis=0)
            spread = np.where((width := x.std(axis=0)) > 0, width, 1.0)
            last = LogisticRegression(C=1.0).fit((x - middle) / spread, labels)
            weights = np.asarray(last.coef_[0] / spread, dtype=np.float64)
            offset = float(last.intercept_[0] - weights @ middle)
        probabilities = sigmoid(x @ weights + offset)
        loss = float(log_loss(labels, probabilities, labels=[0, 1]))
        return replace(bare, weights=weights, offset=offset, loss=loss)


def _require_enough_pairs(part: FeatureMatrix) -> None:
    if min(np.bincount(part.labels, minlength=2)) < MIN_PAIRS_PER_LABEL:
        raise DataError(
            f"{len(part.labels)} pairs, {int(part.labels.sum())} of them true, are too few to "
            f"train on: at least {MIN_PAIRS_PER_LABEL} true and {MIN_PAIRS_PER_LABEL} false pairs "
            "are needed; use more base words"
        )


def _fit_first_stages(
    kind: Kind, x: Doubles, labels: NDArray[np.int64], seed: int
) -> Iterable[Layers]:
    match kind:
        case "scores":
            return [()]
        case "logistic":
            return (_fit_logistic(x, labels, strength) for strength in INVERSE_PENALTIES)
        case "mlp":
            return (_fit_mlp(x, labels, penalty, seed) for penalty in MLP_PENALTIES)


def _fit_logistic(x: Doubles, labels: NDArray[np.int64], strength: float) -> Layers:
    model = LogisticRegression(C=strength, max_iter=300).fit(x, labels)
    return ((model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)),)


def _fit_mlp(x: Doubles, labels: NDArray[np.int64], penalty: float, seed: int) -> Layers:
    # A dict, because the type stubs allow only "auto".
    sizes: dict[str, Any] = {"batch_size": min(BATCH_SIZE, len(x))}
    model: Any = MLPClassifier(
        hidden_layer_sizes=(HIDDEN_SIZE,),
        alpha=penalty,
        max_iter=EPOCHS,
        random_state=seed % 2**32,
        **sizes,
    )
    with warnings.catch_warnings():
        # A fixed number of epochs is intended, so not converging is no problem.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x, labels)
    return tuple(zip(model.coefs_, model.intercepts_, strict=True))
