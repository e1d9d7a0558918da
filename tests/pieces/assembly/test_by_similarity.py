"""Mixing whole adapters of similar people."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from idiolect.adapters.lora import LoraAdapter
from idiolect.errors import IntegrityError, MissingError, UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.pieces.assembly.by_similarity import find_nearest_sharers, mix_whole_adapters
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.recipe import build_adapter
from support.sharers import create_empty_pool, make_contribution, make_sharer_id

VECTORS = {"b": np.array([1.0, 0.0]), "a": np.array([3.0, 0.0]), "c": np.array([0.0, 2.0])}


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


@pytest.fixture
def pool(base: Base, tmp_path: Path) -> Pool:
    pool = create_empty_pool(tmp_path / "pool", base)
    with pool.lock_for_writing():
        pool.add_sharers([make_contribution(pool, base, number) for number in range(3)])
    return pool


def compute_update(adapter: LoraAdapter, path: str) -> torch.Tensor:
    a, b = adapter.pairs[path]
    return adapter.config.scale * b @ a


def test_find_nearest_sharers_orders_by_cosine() -> None:
    target_user = np.array([1.0, 1.0 + 1e-3])
    found = find_nearest_sharers(target_user, VECTORS, 3)
    assert [sharer for sharer, _ in found] == ["c", "a", "b"]
    assert found[0][1] == pytest.approx(0.7074604, abs=1e-6)
    assert find_nearest_sharers(target_user, VECTORS, 2) == found[:2]


@pytest.mark.parametrize("count", [0, 4])
def test_find_nearest_sharers_rejects_bad_count(count: int) -> None:
    with pytest.raises(UsageError, match=f"{count} of 3 sharers"):
        find_nearest_sharers(np.array([1.0, 0.0]), VECTORS, count)


@pytest.mark.parametrize("bad", [np.zeros(2), np.array([np.nan, 1.0])])
def test_find_nearest_sharers_rejects_vector_without_direction(bad: np.ndarray) -> None:
    with pytest.raises(IntegrityError, match="the target user"):
        find_nearest_sharers(bad, VECTORS, 1)
    with pytest.raises(IntegrityError, match="sharer d"):
        find_nearest_sharers(np.array([1.0, 0.0]), {"d": bad}, 1)


def test_mix_whole_adapters_of_one_equals_their_adapter(pool: Pool) -> None:
    adapter = build_adapter(mix_whole_adapters("new", [(make_sharer_id(1), 0.3)], pool), pool)
    for path in pool.sites:
        torch.testing.assert_close(
            compute_update(adapter, path), compute_update(pool.get_adapter(make_sharer_id(1)), path)
        )


def test_mix_whole_adapters_weights_by_similarity(pool: Pool) -> None:
    recipe = mix_whole_adapters(
        "new", [(make_sharer_id(2), 0.6), (make_sharer_id(0), 0.2), (make_sharer_id(1), -0.5)], pool
    )
    adapter = build_adapter(recipe, pool)
    for path in pool.sites:
        wanted = 0.75 * compute_update(pool.get_adapter(make_sharer_id(2)), path)
        wanted = wanted + 0.25 * compute_update(pool.get_adapter(make_sharer_id(0)), path)
        torch.testing.assert_close(compute_update(adapter, path), wanted)


def test_mix_whole_adapters_without_similar_sharers_is_uniform(pool: Pool) -> None:
    recipe = mix_whole_adapters("new", [(make_sharer_id(0), -0.1), (make_sharer_id(1), 0.0)], pool)
    assert recipe.weight.unique().tolist() == [0.5]


def test_mix_whole_adapters_rejects_partial_or_unknown_sharer(pool: Pool, base: Base) -> None:
    with pool.lock_for_writing():
        pool.add_sharers([make_contribution(pool, base, 7, sites=pool.sites[:3])])
    with pytest.raises(MissingError, match="whole adapter"):
        mix_whole_adapters("new", [(make_sharer_id(7), 1.0)], pool)
    with pytest.raises(MissingError, match="no sharer"):
        mix_whole_adapters("new", [(make_sharer_id(9), 1.0)], pool)
