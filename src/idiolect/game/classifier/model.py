"""One relation's classifier as a value: vectors and scores of pairs in, probabilities out.

Two stages. Layers turn the vectors into one number; a last logistic regression weighs it beside the
scores, and thereby calibrates. Run by numpy alone, so that using it needs neither scikit-learn nor
its version; knows nothing of words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from idiolect.errors import IntegrityError
from idiolect.storage.files import read_json, write_json

Doubles = NDArray[np.float64]
Kind = Literal["scores", "logistic", "mlp"]
"""What becomes of the vectors: nothing, a weighted sum, or what a hidden layer makes of them."""
Layers = tuple[tuple[Doubles, Doubles], ...]
"""Weights [in, out] and biases [out]; the last has one output. None where vectors do not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationModel:
    """Standardised vectors through the layers, then one logistic regression with the scores."""

    kind: Kind
    uses: tuple[int, ...]
    """Columns of the scores that count."""
    mean: Doubles
    scale: Doubles
    """[2D]: what is taken from a number of a vector, and what it is divided by."""
    layers: Layers
    weights: Doubles
    """Of the layers' number, where there are layers, and of the scores in use."""
    offset: float
    loss: float
    """Nats a pair on the words that the last stage was fitted to."""

    def predict_proba(self, vectors: NDArray[np.floating], scores: Doubles) -> Doubles:
        """[N] of vectors [N, 2D] and scores [N, S]; those not in use may be anything."""
        inputs = self.build_inputs(vectors, scores)
        return sigmoid(inputs @ self.weights + self.offset)

    def build_inputs(self, vectors: NDArray[np.floating], scores: Doubles) -> Doubles:
        """[N, 1 + used] of the last stage, or [N, used] without layers."""
        used = np.asarray(scores, np.float64)[:, list(self.uses)]
        if not self.layers:
            return used
        number = apply_layers(self.layers, (vectors - self.mean) / self.scale)
        return np.concatenate([number[:, None], used], axis=1)


def apply_layers(layers: Layers, x: Doubles) -> Doubles:
    """[N]: what comes out of the layers, ReLU between them."""
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
        for name in ("mean", "scale", "weights"):
            tensors[f"{relation}.{name}"] = getattr(model, name)
        for place, (weights, bias) in enumerate(model.layers):
            tensors[f"{relation}.{place}.weights"] = np.ascontiguousarray(weights)
            tensors[f"{relation}.{place}.bias"] = np.ascontiguousarray(bias)
    save_file(tensors, folder / "weights.safetensors")
    told = {
        relation: {
            "kind": m.kind,
            "uses": list(m.uses),
            "layers": len(m.layers),
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
        return {relation: _load_model(relation, one, tensors) for relation, one in told.items()}
    except (KeyError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise IntegrityError(
            f"{folder}: not a classifier of word relations ({error}); train it anew"
        ) from error


def _load_model(
    relation: str, one: Mapping[str, object], tensors: Mapping[str, Doubles]
) -> RelationModel:
    kind, uses, layers, offset, loss = (
        one[name] for name in ("kind", "uses", "layers", "offset", "loss")
    )
    assert isinstance(uses, list) and isinstance(layers, int)
    return RelationModel(
        kind=kind,  # pyright: ignore[reportArgumentType]
        uses=tuple(uses),
        mean=tensors[f"{relation}.mean"],
        scale=tensors[f"{relation}.scale"],
        layers=tuple(
            (tensors[f"{relation}.{n}.weights"], tensors[f"{relation}.{n}.bias"])
            for n in range(layers)
        ),
        weights=tensors[f"{relation}.weights"],
        offset=float(offset),  # pyright: ignore[reportArgumentType]
        loss=float(loss),  # pyright: ignore[reportArgumentType]
    )
