"""The step after training: a delta is kept off what retain text gives each module to read.

The directions in which a module's inputs are largest on retain text are taken out of what the delta
reads, so that it changes little there and bears a larger scale. That updates orthogonal to old
inputs leave old behaviour alone is gradient projection memory's idea (Saha et al., 2021,
arXiv:2103.09762), and AlphaEdit's (Fang et al., 2025, arXiv:2410.02355).
Shapes: ``N`` tokens, ``D`` width of a module's input, ``K`` directions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from idiolect.config import derive_seed
from idiolect.models.base import Base
from idiolect.prompts.batch import batches_within_token_budget, collate
from idiolect.prompts.render import Example
from idiolect.unlearning.trainee import FORWARD_TOKENS, Delta, TrainableModel, WeightDelta

SAMPLE_TOKENS = 2048
"""Retain pairs of about so many tokens, drawn by the seed, say what a module reads."""
MAX_FRACTION = 1 / 8
"""Of a module's width: of a delta that is blind to more, too little is left."""
RANK_TOLERANCE = 2e-7
"""Squared singular values below so much of the largest are rounding."""


def project_out_retain(
    base: Base,
    trainee: TrainableModel,
    delta: Delta,
    retain: Sequence[Example],
    count: int,
    *,
    seed: int,
) -> Delta:
    """The delta, blind to the ``count`` largest directions of each module's inputs on retain text.

    At most an eighth of a module's width is taken. Embeddings, norms and biases of a full delta
    stay as they are.
    """
    paths = [path for path in _list_module_paths(base, delta) if _cap_rank(base, path, count)]
    found = _collect_inputs(base, trainee, paths, retain, seed)
    return project_out(
        delta,
        {
            path: top_singular_vectors(torch.cat(parts).float(), _cap_rank(base, path, count))
            for path, parts in found.items()
        },
    )


def top_singular_vectors(inputs: Tensor, count: int) -> Tensor:
    """The right singular vectors [K, D] of inputs [N, D] with the largest singular values; fewer
    where inputs have fewer."""
    wide = inputs.shape[0] < inputs.shape[1]
    products = inputs @ inputs.T if wide else inputs.T @ inputs
    start = np.ones(len(products), dtype=np.float32)  # else it is drawn, by nobody's seed
    count = min(count, len(products) - 1)
    if count < 1:
        return inputs[:0]
    values, found = eigsh(products.cpu().numpy(), k=count, v0=start)
    there = values > RANK_TOLERANCE * values.max()
    vectors = torch.from_numpy(np.ascontiguousarray(found.T[there])).to(inputs)
    return torch.nn.functional.normalize(vectors @ inputs) if wide else vectors


def project_out(delta: Delta, directions: Mapping[str, Tensor]) -> Delta:
    """The delta with W (1 - V' V) for each module's W; V: its orthonormal directions [K, D]."""
    if isinstance(delta, WeightDelta):
        tensors = dict(delta.tensors)
        for path, some in directions.items():
            tensors[f"{path}.weight"] = _project(tensors[f"{path}.weight"], some)
        return replace(delta, tensors=tensors)
    pairs = {
        path: (_project(a, directions[path]) if path in directions else a, b)
        for path, (a, b) in delta.pairs.items()
    }
    return replace(delta, pairs=pairs)


def _project(weight: Tensor, some: Tensor) -> Tensor:
    some = some.to(weight)
    return weight - (weight @ some.T) @ some


def _list_module_paths(base: Base, delta: Delta) -> list[str]:
    if not isinstance(delta, WeightDelta):
        return list(delta.pairs)
    decoder = {id(module) for module in base.model.get_decoder().modules()}  # not the output head
    return [
        path
        for path, module in base.model.named_modules()
        if isinstance(module, nn.Linear) and id(module) in decoder
    ]


def _cap_rank(base: Base, path: str, count: int) -> int:
    return min(count, int(base.model.get_submodule(path).in_features * MAX_FRACTION))


def _collect_inputs(
    base: Base, trainee: TrainableModel, paths: Sequence[str], retain: Sequence[Example], seed: int
) -> dict[str, list[Tensor]]:
    """What each module reads in the model that training began with, of about ``TOKENS`` tokens."""
    found: dict[str, list[Tensor]] = {path: [] for path in paths}
    some = _sample_examples(retain, seed)
    for parcel in batches_within_token_budget([len(e.ids) for e in some], FORWARD_TOKENS):
        rows = [some[i] for i in parcel]
        batch = collate(rows, pad=base.pad_token_id, device=base.device)
        # The last token predicts nothing that is trained on.
        places = torch.arange(batch.ids.shape[1] - 1, device=base.device)
        kept = places < batch.length[:, None] - 1
        with (
            torch.no_grad(),
            trainee.use_initial_model(rows) as model,
            _record_inputs(model, kept, found),
        ):
            model.get_decoder()(input_ids=batch.ids[:, :-1], use_cache=False)
    return found


def _sample_examples(retain: Sequence[Example], seed: int) -> list[Example]:
    left, found = SAMPLE_TOKENS, list[Example]()
    for example in random.Random(derive_seed(seed, "spare")).sample(retain, len(retain)):
        if left <= 0:
            break
        found.append(example)
        left -= len(example.ids)
    return found


@contextmanager
def _record_inputs(model: Any, kept: Tensor, found: Mapping[str, list[Tensor]]) -> Iterator[None]:
    """Add what modules read, where ``kept`` [B, T] is true, in a forward."""

    def make_hook(parts: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, args: parts.append(args[0].detach()[kept])

    handles = [
        model.get_submodule(path).register_forward_pre_hook(make_hook(parts))
        for path, parts in found.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
