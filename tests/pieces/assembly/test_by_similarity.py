from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from idiolect.adapters.lora import LoraAdapter
from idiolect.errors import IntegrityError, MissingError, UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import tiny_base
from idiolect.pieces.assembly.by_similarity import nearest, whole_adapters
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.recipe import materialise
from support.sharers import made, name, sharer

VECTORS = {"b": np.array([1.0, 0.0]), "a": np.array([3.0, 0.0]), "c": np.array([0.0, 2.0])}


@pytest.fixture(scope="module")
def base() -> Base:
    return tiny_base()


@pytest.fixture
def pool(base: Base, tmp_path: Path) -> Pool:
    pool = made(tmp_path / "pool", base)
    with pool.writing():
        pool.add([sharer(pool, base, number) for number in range(3)])
    return pool


def update(adapter: LoraAdapter, path: str) -> torch.Tensor:
    a, b = adapter.pairs[path]
    return adapter.config.scale * b @ a


def test_the_most_like_come_first_and_length_does_not_count() -> None:
    newcomer = np.array([1.0, 1.0 + 1e-3])
    found = nearest(newcomer, VECTORS, 3)
    assert [sharer for sharer, _ in found] == ["c", "a", "b"]
    assert found[0][1] == pytest.approx(0.7074604, abs=1e-6)
    assert nearest(newcomer, VECTORS, 2) == found[:2]


@pytest.mark.parametrize("count", [0, 4])
def test_more_than_there_are_is_refused(count: int) -> None:
    with pytest.raises(UsageError, match=f"{count} of 3 sharers"):
        nearest(np.array([1.0, 0.0]), VECTORS, count)


@pytest.mark.parametrize("bad", [np.zeros(2), np.array([np.nan, 1.0])])
def test_a_vector_without_direction_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(IntegrityError, match="the newcomer"):
        nearest(bad, VECTORS, 1)
    with pytest.raises(IntegrityError, match="sharer d"):
        nearest(np.array([1.0, 0.0]), {"d": bad}, 1)


def test_the_nearest_ones_whole_adapter_is_theirs(pool: Pool) -> None:
    adapter = materialise(whole_adapters("new", [(name(1), 0.3)], pool), pool)
    for path in pool.sites:
        torch.testing.assert_close(update(adapter, path), update(pool.adapter(name(1)), path))


def test_several_are_weighted_by_likeness(pool: Pool) -> None:
    recipe = whole_adapters("new", [(name(2), 0.6), (name(0), 0.2), (name(1), -0.5)], pool)
    adapter = materialise(recipe, pool)
    for path in pool.sites:
        wanted = 0.75 * update(pool.adapter(name(2)), path)
        wanted = wanted + 0.25 * update(pool.adapter(name(0)), path)
        torch.testing.assert_close(update(adapter, path), wanted)


def test_where_nobody_is_like_the_newcomer_all_count_alike(pool: Pool) -> None:
    recipe = whole_adapters("new", [(name(0), -0.1), (name(1), 0.0)], pool)
    assert recipe.weight.unique().tolist() == [0.5]


def test_a_part_of_an_adapter_or_a_stranger_is_refused(pool: Pool, base: Base) -> None:
    with pool.writing():
        pool.add([sharer(pool, base, 7, sites=pool.sites[:3])])
    with pytest.raises(MissingError, match="whole adapter"):
        whole_adapters("new", [(name(7), 1.0)], pool)
    with pytest.raises(MissingError, match="no sharer"):
        whole_adapters("new", [(name(9), 1.0)], pool)
