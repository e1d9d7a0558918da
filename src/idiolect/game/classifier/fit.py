"""Fits one relation's classifier: logistic regression or a small MLP, then Platt's calibration.

The words set apart choose how strongly weights are held back, and calibrate; a base word is in one
part only.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from idiolect.errors import DataError
from idiolect.game.classifier.examples import Example, side
from idiolect.game.classifier.features import Features
from idiolect.game.classifier.model import Doubles, Kind, Layers, RelationModel, sigmoid, through

CALIBRATION = 20
"""Percent of the base words that choose and calibrate."""
STRENGTHS = (0.0003, 0.001, 0.003, 0.01, 0.1)
"""Inverse penalties tried for logistic regression: some hundred words against 770 features."""
PENALTIES = (1.0, 10.0, 50.0)
"""Penalties tried for the MLP."""
HIDDEN, BATCH, EPOCHS = 32, 64, 40
SCALAR_WEIGHT = 10.0
"""A feature of its own counts so much more than one number of 384: the penalty, which is for these,
hardly holds it back."""
_LEAST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Split:
    """Standardised features and labels, of the words that fit and of those that calibrate."""

    x: Doubles
    y: NDArray[np.int64]
    x_apart: Doubles
    y_apart: NDArray[np.int64]


def fit(pairs: Sequence[Example], features: Features, kind: Kind, *, seed: int) -> RelationModel:
    """Train on all the pairs. Raises DataError for too few of a kind on either side."""
    labels = np.array([pair.related for pair in pairs], dtype=np.int64)
    apart = np.array([side(pair.base_word, seed) < CALIBRATION for pair in pairs])
    for part in (labels[apart], labels[~apart]):
        if min((part == 0).sum(), (part == 1).sum()) < _LEAST:
            raise DataError(
                f"{len(pairs)} pairs of {pairs[0].relation if pairs else 'no relation'}: too few "
                f"to learn from; {_LEAST} true and false ones are needed of words on either side"
            )
    values = features.values.astype(np.float64)
    mean = values[~apart].mean(axis=0)
    scale = np.where((spread := values[~apart].std(axis=0)) > 0, spread, 1.0)
    if values.shape[1] > features.scalars:
        scale[: features.scalars] /= SCALAR_WEIGHT
    x = (values - mean) / scale
    split = _Split(x=x[~apart], y=labels[~apart], x_apart=x[apart], y_apart=labels[apart])
    tried = [_calibrated(layers, split) for layers in _candidates(kind, split, seed)]
    loss, layers, slope, offset = min(tried, key=lambda one: one[0])
    return RelationModel(
        kind=kind,
        mean=mean,
        scale=scale,
        layers=layers,
        slope=slope,
        offset=offset,
        loss=loss,
    )


def _candidates(kind: Kind, split: _Split, seed: int) -> list[Layers]:
    match kind:
        case "majority":
            return [()]
        case "logistic":
            return [_logistic(split, strength) for strength in STRENGTHS]
        case "mlp":
            return [_mlp(split, penalty, seed) for penalty in PENALTIES]


def _logistic(split: _Split, strength: float) -> Layers:
    model = LogisticRegression(C=strength, max_iter=500).fit(split.x, split.y)
    return ((model.coef_.T.astype(np.float64), model.intercept_.astype(np.float64)),)


def _mlp(split: _Split, penalty: float, seed: int) -> Layers:
    model: Any = MLPClassifier(
        hidden_layer_sizes=(HIDDEN,),
        alpha=penalty,
        batch_size=min(BATCH, len(split.x)),
        max_iter=EPOCHS,
        random_state=seed % 2**32,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # stopping early is part of the method
        model.fit(split.x, split.y)
    return tuple(zip(model.coefs_, model.intercepts_, strict=True))


def _calibrated(layers: Layers, split: _Split) -> tuple[float, Layers, float, float]:
    """Platt's sigmoid on the words set apart, and the log loss that it has there."""
    scores = through(layers, split.x_apart)
    platt = LogisticRegression(C=1e6).fit(scores[:, None], split.y_apart)
    slope, offset = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    if slope < 0:  # worse than nothing on other words: then it says nothing
        slope = 0.0
        offset = float(np.log(split.y_apart.mean() / (1 - split.y_apart.mean())))
    chances = sigmoid(slope * scores + offset)
    return float(log_loss(split.y_apart, chances, labels=[0, 1])), layers, slope, offset
