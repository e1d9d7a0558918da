"""The fitted classifier of one relation: maps vectors and scores of pairs to probabilities.

It has two stages. Layers reduce the vectors to one logit; a logistic regression on this logit and
the scores then gives calibrated probabilities. Prediction uses only numpy, so that a saved model
does not depend on scikit-learn or its version.

Shapes: N pairs, D encoder dimensions, S scores, U scores in use.
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
"""The first stage: none (only scores), a linear layer, or an MLP with one hidden layer."""
Layers = tuple[tuple[Doubles, Doubles], ...]
"""Weights [in, out] and biases [out]; the last layer has one output. () if vectors are unused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelationModel:
    """Layers on standardized vectors, then a logistic regression on their output and the scores."""

    kind: Kind
    uses: tuple[int, ...]
    """Columns of the scores in use."""
    mean: Doubles
    scale: Doubles
    """[2D] each: the mean and standard deviation that standardize the vectors."""
    layers: Layers
    weights: Doubles
    """[1 + U]: weights of the layers' output and of the scores in use; [U] without layers."""
    offset: float
    loss: float
    """Mean log loss in nats on the pairs that the last stage was fitted on."""

    def predict_proba(self, vectors: NDArray[np.floating], scores: Doubles) -> Doubles:
        """Probabilities [N] from vectors [N, 2D] and scores [N, S]; unused columns are ignored."""
        inputs = self.build_inputs(vectors, scores)
        return sigmoid(inputs @ self.weights + self.offset)

    def build_inputs(self, vectors: NDArray[np.floating], scores: Doubles) -> Doubles:
        """Inputs of the last stage: [N, 1 + U], or [N, U] without layers."""
        used_NU = np.asarray(scores, np.float64)[:, list(self.uses)]
        if not self.layers:
            return used_NU
        logits_N = apply_layers(self.layers, (vectors - self.mean) / self.scale)
        return np.concatenate([logits_N[:, None], used_NU], axis=1)


def apply_layers(layers: Layers, x: Doubles) -> Doubles:
    """[N]: the output of the layers for x [N, in], with ReLU between them."""
    for weights, bias in layers[:-1]:
        x = np.maximum(x @ weights + bias, 0)
    weights, bias = layers[-1]
    return (x @ weights + bias)[:, 0]


def sigmoid(x: Doubles) -> Doubles:
    """1 / (1 + exp(-x)), without overflow."""
    return np.exp(-np.logaddexp(0, -x))


def save_models(folder: Path, models: Mapping[str, RelationModel]) -> None:
    """Write ``weights.safetensors`` and ``models.json``; the same models give the same bytes."""
    # Tensors are named "<relation>.<field>" and "<relation>.<layer>.<weights or bias>".
    tensors: dict[str, Doubles] = {}
    for relation, model in models.items():
        for name in ("mean", "scale", "weights"):
            tensors[f"{relation}.{name}"] = getattr(model, name)
        for index, (weights, bias) in enumerate(model.layers):
            tensors[f"{relation}.{index}.weights"] = np.ascontiguousarray(weights)
            tensors[f"{relation}.{index}.bias"] = np.ascontiguousarray(bias)
    save_file(tensors, folder / "weights.safetensors")
    fields = {
        relation: {
            "kind": m.kind,
            "uses": list(m.uses),
            "layers": len(m.layers),
            "offset": m.offset,
            "loss": m.loss,
        }
        for relation, m in models.items()
    }
    write_json(folder / "models.json", fields)


def load_models(folder: Path) -> dict[str, RelationModel]:
    """Read what ``save_models`` wrote. Raises IntegrityError if the files are invalid."""
    fields = read_json(folder / "models.json")
    try:
        tensors = load_file(folder / "weights.safetensors")
        # A NaN would spread into the predictions without an error.
        if not all(np.isfinite(tensor).all() for tensor in tensors.values()):
            raise ValueError("a weight is not finite")
        return {relation: _load_model(relation, one, tensors) for relation, one in fields.items()}
    except (KeyError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise IntegrityError(
            f"{folder}: not a classifier of word relations ({error}); train it again"
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
