"""Projects a delta off the directions in which retain text drives each module's inputs.

After training, the top singular directions of a module's inputs on retain text are removed from the
input side of its update. The delta then changes little on retain text and tolerates a larger scale.
Updates orthogonal to old inputs preserve old behavior: this is the idea of gradient projection
memory (Saha et al., 2021, arXiv:2103.09762) and AlphaEdit (Fang et al., 2025, arXiv:2410.02355).

Shapes: ``B`` rows, ``T`` positions, ``N`` tokens, ``O`` outputs of a module, ``D`` width of its
input, ``K`` directions.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from idiolect.adapters.row_groups import RowGrouper
from idiolect.config import derive_seed
from idiolect.models.base import Base
from idiolect.models.linear import get_widths, iter_linear_modules, orient_weight
from idiolect.models.model_thread import claim_model
from idiolect.models.structure import find_decoder
from idiolect.prompts.batch import collate
from idiolect.prompts.render import Example
from idiolect.unlearning.trainee import FORWARD_TOKENS, Delta, TrainableModel, WeightDelta

SAMPLE_TOKENS = 2048
"""Approximate number of retain tokens, from a seeded sample, on which inputs are recorded."""
MAX_FRACTION = 1 / 8
"""Upper limit on the removed directions as a fraction of a module's width. A delta that loses more
has too little effect left."""
RANK_TOLERANCE = 2e-7
"""Squared singular values below this fraction of the largest are rounding noise."""


def project_out_retain(
    base: Base,
    trainee: TrainableModel,
    delta: Delta,
    retain: Sequence[Example],
    count: int,
    *,
    seed: int,
) -> Delta:
    """Remove the ``count`` largest input directions of each module on retain text from the delta.

    At most ``MAX_FRACTION`` of a module's width is removed. Embeddings, norms, and biases of a full
    delta stay unchanged.
    """
    # Modules from which nothing would be removed (very narrow ones) need no recorded inputs.
    paths = [path for path in _list_module_paths(base, delta) if _cap_rank(base, path, count)]
    found = _collect_inputs(base, trainee, paths, retain, seed)
    return project_out(
        base,
        delta,
        {
            path: top_singular_vectors(torch.cat(parts).float(), _cap_rank(base, path, count))
            for path, parts in found.items()
        },
    )


def top_singular_vectors(inputs_ND: Tensor, count: int) -> Tensor:
    """Return the right singular vectors [K, D] of inputs with the largest singular values;
    fewer than ``count`` if the rank of the inputs is lower."""
    # The eigenvectors of the smaller Gram matrix give the singular vectors, [N, N] or [D, D].
    wide = inputs_ND.shape[0] < inputs_ND.shape[1]
    products = inputs_ND @ inputs_ND.T if wide else inputs_ND.T @ inputs_ND
    # Without a start vector eigsh draws an unseeded random one.
    start = np.ones(len(products), dtype=np.float32)
    # eigsh requires fewer vectors than the matrix has rows.
    count = min(count, len(products) - 1)
    if count < 1:
        return inputs_ND[:0]
    values, found = eigsh(products.cpu().numpy(), k=count, v0=start)
    # Directions that are rounding noise carry no information about retain text.
    there = values > RANK_TOLERANCE * values.max()
    vectors = torch.from_numpy(np.ascontiguousarray(found.T[there])).to(inputs_ND)
    # Left singular vectors times the inputs are the right ones, up to their lengths.
    return torch.nn.functional.normalize(vectors @ inputs_ND) if wide else vectors


def project_out(base: Base, delta: Delta, directions: Mapping[str, Tensor]) -> Delta:
    """Replace each module's update W with W (1 - V' V), where V holds its orthonormal directions
    [K, D]."""
    if isinstance(delta, WeightDelta):
        tensors = dict(delta.tensors)
        for path, directions_KD in directions.items():
            module, weight = base.model.get_submodule(path), tensors[f"{path}.weight"]
            projected_OD = _project(orient_weight(module, weight), directions_KD)
            tensors[f"{path}.weight"] = orient_weight(module, projected_OD)
        return replace(delta, tensors=tensors)
    # A LoRA's update is B A, so projecting A alone projects the product.
    pairs = {
        path: (_project(a, directions[path]) if path in directions else a, b)
        for path, (a, b) in delta.pairs.items()
    }
    return replace(delta, pairs=pairs)


def _project(weight_OD: Tensor, directions_KD: Tensor) -> Tensor:
    directions_KD = directions_KD.to(weight_OD)
    return weight_OD - (weight_OD @ directions_KD.T) @ directions_KD


def _list_module_paths(base: Base, delta: Delta) -> list[str]:
    """Return the paths of the linear modules that the delta changes, without the output head."""
    if not isinstance(delta, WeightDelta):
        return list(delta.pairs)
    return [path for path, _ in iter_linear_modules(base.model)]


def _cap_rank(base: Base, path: str, count: int) -> int:
    """Return the number of directions to remove from a module, at most ``MAX_FRACTION`` of its
    width."""
    return min(count, int(get_widths(base.model.get_submodule(path))[0] * MAX_FRACTION))


def _collect_inputs(
    base: Base, trainee: TrainableModel, paths: Sequence[str], retain: Sequence[Example], seed: int
) -> dict[str, list[Tensor]]:
    """Record each module's inputs on about ``SAMPLE_TOKENS`` retain tokens, in the model before
    training. Returns a list of [N, D] tensors per module path."""
    found: dict[str, list[Tensor]] = {path: [] for path in paths}
    some = _sample_examples(retain, seed)
    # Where the inputs of a module do not keep rows apart, padding cannot be told from them, so each
    # row runs alone.
    flat = base.ways.flat_modules.intersection(paths)
    budget = 1 if flat else FORWARD_TOKENS
    grouper = RowGrouper.for_adapters(base, None)
    for parcel in grouper.iter_groups([0] * len(some), [len(e.ids) for e in some], budget):
        rows = [some[i] for i in parcel]
        batch = collate(rows, pad=base.pad_token_id, device=base.device)
        # The last token predicts nothing that is trained on, so its inputs are left out.
        positions_T = torch.arange(batch.ids.shape[1] - 1, device=base.device)
        kept_BT = positions_T < batch.length[:, None] - 1
        with (
            torch.no_grad(),
            trainee.use_initial_model(rows) as model,
            _record_inputs(model, kept_BT, found, flat),
        ):
            find_decoder(model)(input_ids=batch.ids[:, :-1], use_cache=False)
    return found


def _sample_examples(retain: Sequence[Example], seed: int) -> list[Example]:
    """Return a seeded sample of examples with about ``SAMPLE_TOKENS`` tokens in total."""
    left, found = SAMPLE_TOKENS, list[Example]()
    for example in random.Random(derive_seed(seed, "spare")).sample(retain, len(retain)):
        if left <= 0:
            break
        found.append(example)
        left -= len(example.ids)
    return found


@contextmanager
def _record_inputs(
    model: Any, kept_BT: Tensor, found: Mapping[str, list[Tensor]], flat: Set[str]
) -> Iterator[None]:
    """Append what each module reads at the positions where ``kept_BT`` is true, during a forward.
    Modules in ``flat`` read tokens in a shape of their own; all are kept."""

    # A factory, so that each hook keeps its own list instead of the loop's last one.
    def make_hook(path: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def record(_: nn.Module, args: tuple[Tensor, ...]) -> None:
            inputs = args[0].detach()
            kept = inputs.flatten(0, -2) if path in flat else inputs[kept_BT]
            found[path].append(kept)

        return record

    with claim_model(model):
        handles = [
            model.get_submodule(path).register_forward_pre_hook(make_hook(path)) for path in found
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
