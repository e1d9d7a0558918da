"""One relation's classifier as a value: layers of numbers in, a calibrated probability out.

Run by numpy alone, so that using it needs neither scikit-learn nor its version; knows nothing of
words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from idiolect.errors import IntegrityError
from idiolect.game.classifier.features import Features
from idiolect.storage import read_json, write_json

Doubles = NDArray[np.float64]
Kind = Literal["majority", "logistic", "mlp"]
Layers = tuple[tuple[Doubles, Doubles], ...]
"""Weights [in, out] and biases [out]; the last has one output. None for the majority."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationModel:
    """Standardise, multiply through the layers with ReLU between, then Platt's sigmoid."""

    kind: Kind
    mean: Doubles
    scale: Doubles
    """[F]: what is taken from a feature, and what it is divided by."""
    layers: Layers
    slope: float
    offset: float
    """Platt: the probability is sigmoid(slope * score + offset)."""
    loss: float
    """Nats a pair on the words that calibrated it."""

    def scores(self, features: Features) -> Doubles:
        """[N]: uncalibrated, higher where the relation is likelier."""
        return through(self.layers, (features.values - self.mean) / self.scale)

    def probabilities(self, features: Features) -> Doubles:
        """[N]: calibrated."""
        return sigmoid(self.slope * self.scores(features) + self.offset)


def through(layers: Layers, x: Doubles) -> Doubles:
    """[N]: what comes out of the layers, ReLU between them; zeros where there are none."""
    if not layers:
        return np.zeros(len(x))
    for weights, bias in layers[:-1]:
        x = np.maximum(x @ weights + bias, 0)
    weights, bias = layers[-1]
    return (x @ weights + bias)[:, 0]


def sigmoid(x: Doubles) -> Doubles:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0, -x))


def save_models(folder: Path, models: Mapping[str, RelationModel]) -> None:
    """Write ``weights.safetensors`` and ``models.json``; the same models give the same bytes."""
    tensors: dict[str, Doubles] = {}
    for relation, model in models.items():
        tensors[f"{relation}.mean"], tensors[f"{relation}.scale"] = model.mean, model.scale
        for place, (weights, bias) in enumerate(model.layers):
            tensors[f"{relation}.{place}.weights"] = np.ascontiguousarray(weights)
            tensors[f"{relation}.{place}.bias"] = np.ascontiguousarray(bias)
    save_file(tensors, folder / "weights.safetensors")
    told = {
        relation: {
            "kind": m.kind,
            "layers": len(m.layers),
            "slope": m.slope,
            "offset": m.offset,
            "loss": m.loss,
        }
        for relation, m in models.items()
    }
    write_json(folder / "models.json", told)


def load_models(folder: Path) -> dict[str, RelationModel]:
    """Read what ``save_models`` wrote. Raises IntegrityError for what is no such thing."""
    told = read_json(folder / "models.json")
    try:
        tensors = load_file(folder / "weights.safetensors")
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise ValueError("a weight is not finite")
        return {
            relation: RelationModel(
                kind=one["kind"],
                mean=tensors[f"{relation}.mean"],
                scale=tensors[f"{relation}.scale"],
                layers=tuple(
                    (tensors[f"{relation}.{n}.weights"], tensors[f"{relation}.{n}.bias"])
                    for n in range(one["layers"])
                ),
                slope=float(one["slope"]),
                offset=float(one["offset"]),
                loss=float(one["loss"]),
            )
            for relation, one in told.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(
            f"{folder}: not a classifier of word relations ({error}); train it anew"
        ) from error
    except Exception as error:  # safetensors' own errors share no base class with these
        raise IntegrityError(f"{folder}: its weights are damaged ({error})") from error
