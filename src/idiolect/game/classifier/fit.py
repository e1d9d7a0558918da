"""Fits one relation's classifier in two stages, on base words that have nothing to do with another.

The first stage, logistic regression or a small MLP, makes one number of the vectors; it sees many
pairs. The last stage weighs that number beside the scores, on words that the first never saw: else
it would believe the first as if it were always as right as on what it knows by heart.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from idiolect.errors import DataError
from idiolect.game.classifier.examples import Example
from idiolect.game.classifier.features import Describer
from idiolect.game.classifier.model import Doubles, Kind, Layers, RelationModel

STRENGTHS = (0.0003, 0.001, 0.01)
"""Inverse penalties tried for logistic regression: thousands of pairs, 768 numbers each."""
PENALTIES = (1.0, 10.0)
"""Penalties tried for the MLP."""
HIDDEN, BATCH, EPOCHS = 32, 64, 30
LEAST = 10
"""True and false pairs that each stage needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """Pairs as numbers: ``vectors`` [N, 2D], ``scores`` [N, S], ``labels`` [N]."""

    vectors: NDArray[np.float32]
    scores: Doubles
    labels: NDArray[np.int64]

    @staticmethod
    def of(pairs: Sequence[Example], describe: Describer, *, scored: bool = True) -> Described:
        """With ``scored`` False the scores, which are dear, are left out."""
        scores = describe.scores(pairs) if scored else np.zeros((len(pairs), 0))
        return Described(
            vectors=describe.vectors(pairs),
            scores=scores.astype(np.float64),
            labels=np.array([pair.related for pair in pairs], dtype=np.int64),
        )


def fit(
    many: Described, apart: Described, kind: Kind, *, uses: Sequence[int], seed: int
) -> RelationModel:
    """The first stage from ``many``, the last from ``apart`` with the scores in columns ``uses``.

    How strongly the first stage is held back is chosen on ``apart``, too. Raises DataError for too
    few pairs of a label.
    """
    for part in (many, apart) if kind != "scores" else (apart,):
        if min(np.bincount(part.labels, minlength=2)) < LEAST:
            raise DataError(
                f"{len(part.labels)} pairs, {int(part.labels.sum())} of them true, are too few to "
                f"learn from: {LEAST} true and false ones are needed; give more words"
            )
    mean = many.vectors.mean(axis=0, dtype=np.float64)
    spread = many.vectors.std(axis=0, dtype=np.float64)
    scale = np.where(spread > 0, spread, 1.0)
    x = (many.vectors - mean) / scale
    found = [
        _last_stage(apart, kind, tuple(uses), mean, scale, layers)
        for layers in _first_stages(kind, x, many.labels, seed)
    ]
    return min(found, key=lambda model: model.loss)


def _first_stages(kind: Kind, x: Doubles, labels: NDArray[np.int64], seed: int) -> Iterable[Layers]:
    match kind:
        case "scores":
            return [()]
        case "logistic":
            return (_logistic(x, labels, strength) for strength in STRENGTHS)
        case "mlp":
            return (_mlp(x, labels, penalty, seed) for penalty in PENALTIES)


def _logistic(x: Doubles, labels: NDArray[np.int64], strength: float) -> Layers:
    model = LogisticRegression(C=strength, max_iter=300).fit(x, labels)
    return ((model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)),)


def _mlp(x: Doubles, labels: NDArray[np.int64], penalty: float, seed: int) -> Layers:
    model: Any = MLPClassifier(
        hidden_layer_sizes=(HIDDEN,),
        alpha=penalty,
        batch_size=min(BATCH, len(x)),
        max_iter=EPOCHS,
        random_state=seed % 2**32,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is part of the method
        model.fit(x, labels)
    return tuple(zip(model.coefs_, model.intercepts_, strict=True))


def _last_stage(
    apart: Described,
    kind: Kind,
    uses: tuple[int, ...],
    mean: Doubles,
    scale: Doubles,
    layers: Layers,
) -> RelationModel:
    def model(weights: Doubles, offset: float, loss: float) -> RelationModel:
        return RelationModel(
            kind=kind,
            uses=uses,
            mean=mean,
            scale=scale,
            layers=layers,
            weights=weights,
            offset=offset,
            loss=loss,
        )

    x = model(np.zeros(0), 0.0, 0.0).inputs(apart.vectors, apart.scores)
    if not x.shape[1]:  # the majority
        share = float(apart.labels.mean())
        chances = np.full(len(x), share)
        offset, weights = float(np.log(share / (1 - share))), np.zeros(0)
    else:
        middle = x.mean(axis=0)
        spread = np.where((width := x.std(axis=0)) > 0, width, 1.0)
        last = LogisticRegression(C=1.0).fit((x - middle) / spread, apart.labels)
        weights = last.coef_[0] / spread
        offset = float(last.intercept_[0] - weights @ middle)
        chances = last.predict_proba((x - middle) / spread)[:, 1]
    loss = float(log_loss(apart.labels, chances, labels=[0, 1]))
    return model(weights.astype(np.float64), offset, loss)
