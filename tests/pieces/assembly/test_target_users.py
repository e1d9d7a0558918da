"""Which target users can be assembled, which items are used, what runs, and in which precision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from idiolect.errors import DataError, MismatchError, UsageError
from idiolect.events import Event, Progress
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.pieces.assembly.by_gates import assemble_recipes
from idiolect.pieces.assembly.by_gates_reference import assemble_one
from idiolect.pieces.assembly.normalize import normalize_inputs
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.prompts.render import Example
from support.job_strategies import make_exact_base
from support.sharers import LORA, create_empty_pool, make_contribution

ONE = AssembleConfig(by="gates", top_k=1)
Assembling = Callable[[Base, Pool, tuple[Example, ...], AssembleConfig], Any]


def assemble_batched(
    base: Base, pool: Pool, items: tuple[Example, ...], config: AssembleConfig
) -> Any:
    others = {"other": make_items(3, seed=9)}
    return assemble_recipes(base, pool, {**others, "new": items}, config)[1]


def assemble_alone(
    base: Base, pool: Pool, items: tuple[Example, ...], config: AssembleConfig
) -> Any:
    return assemble_one(base, pool, "new", items, config)


both_ways = pytest.mark.parametrize("way", [assemble_batched, assemble_alone])


def make_items(items: int, *, seed: int = 0, opening: tuple[int, ...] = ()) -> tuple[Example, ...]:
    draw = torch.Generator().manual_seed(seed)
    rows = (torch.randint(0, 200, (8 + n,), generator=draw).tolist() for n in range(items))
    return tuple(Example((*opening, *ids), len(opening) + 4 + n % 3) for n, ids in enumerate(rows))


def make_pool(folder: Path, base: Base, sharers: int = 4, lora: Any = LORA) -> Pool:
    pool = create_empty_pool(folder / "pool", base, lora)
    with pool.lock_for_writing():
        pool.add_sharers([make_contribution(pool, base, n) for n in range(sharers)])
    return pool


def list_picks(recipe: Any) -> list[list[tuple[str, float]]]:
    """Sharers and weights by module."""
    return [
        [(recipe.sharers[int(n)], float(w)) for n, w in zip(pick, weight, strict=True) if n >= 0]
        for pick, weight in zip(recipe.pick, recipe.weight, strict=True)
    ]


@both_ways
def test_assemble_with_recent_k_uses_latest_items(tmp_path: Path, way: Assembling) -> None:
    base = make_exact_base()
    pool, items = make_pool(tmp_path, base), make_items(7)
    found = list_picks(way(base, pool, items, AssembleConfig(by="gates", recent_k=3)))
    assert found == list_picks(way(base, pool, items[-3:], AssembleConfig(by="gates")))
    assert found != list_picks(way(base, pool, items, AssembleConfig(by="gates")))
    assert list_picks(way(base, pool, items, AssembleConfig(by="gates", recent_k=9))) == list_picks(
        way(base, pool, items, AssembleConfig(by="gates"))
    )


@both_ways
def test_assemble_skips_items_without_target(tmp_path: Path, way: Assembling) -> None:
    base = make_exact_base()
    pool, items = make_pool(tmp_path, base), make_items(2)
    empty = Example((5, 6, 7), 3)
    found = list_picks(
        way(base, pool, (items[0], empty, items[1], empty), AssembleConfig(by="gates", recent_k=2))
    )
    assert found == list_picks(way(base, pool, items, AssembleConfig(by="gates")))


@both_ways
def test_assemble_rejects_target_user_without_targets(tmp_path: Path, way: Assembling) -> None:
    base = make_exact_base()
    pool = make_pool(tmp_path, base)
    with pytest.raises(DataError, match=r"'new'.*history is empty"):
        way(base, pool, (), ONE)
    with pytest.raises(DataError, match=r"'new'.*none of 2 items has a target token"):
        way(base, pool, (Example((5, 6, 7), 3), Example((5, 6), 4)), ONE)


@both_ways
def test_assemble_rejects_unfit_pool(tmp_path: Path, way: Assembling) -> None:
    base = make_exact_base()
    pool = make_pool(tmp_path, base)
    with pytest.raises(MismatchError, match="made for base"):
        way(replace(base, identity="f" * 64), pool, make_items(2), ONE)
    with pytest.raises(UsageError, match=r"top_k: 5 pieces.* only 4 sharers"):
        way(base, pool, make_items(2), AssembleConfig(by="gates", top_k=5))
    with pytest.raises(UsageError, match="this pool has no sharers"):
        way(base, create_empty_pool(tmp_path / "none", base), make_items(2), ONE)


@both_ways
def test_assemble_rejects_flat_input(tmp_path: Path, way: Assembling) -> None:
    base = make_tiny_base()
    model: Any = base.model
    token = 77
    with torch.no_grad():
        model.model.layers[0].input_layernorm.weight.fill_(1)
        model.get_input_embeddings().weight[token] = 0.3
    pool = make_pool(tmp_path, base)
    way(base, pool, (Example((token, 5, 6, 7), 3),), ONE)  # this token predicts no answer
    with pytest.raises(DataError, match=r"'new'.*layers\.0\.self_attn\.q_proj"):
        way(base, pool, (*make_items(2), Example((5, 6, token, 7), 3)), ONE)


def test_normalize_inputs_uses_no_eps() -> None:
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    units, flat = normalize_inputs(x)
    assert not flat.any()
    assert torch.allclose(units.mean(1), torch.zeros(3, dtype=x.dtype), atol=1e-12)
    assert torch.allclose(units.var(1, correction=0), torch.ones(3, dtype=x.dtype), rtol=1e-12)
    assert torch.allclose(normalize_inputs(x * 1e-9)[0], units, rtol=1e-9)
    for kind in (torch.bfloat16, torch.float32, torch.float64):
        rows = torch.stack([torch.full((576,), 0.1), torch.zeros(576), torch.arange(576) / 576])
        rows = torch.cat([rows, rows[2:] / 0]).to(kind)
        units, flat = normalize_inputs(rows)
        assert flat.tolist() == [True, True, False, True]
        assert units.dtype == (torch.float64 if kind == torch.float64 else torch.float32)


@both_ways
def test_assemble_breaks_ties_by_pool_order(tmp_path: Path, way: Assembling) -> None:
    base = make_exact_base()
    pool = create_empty_pool(tmp_path / "pool", base)
    twins = [
        replace(make_contribution(pool, base, n), gates=make_contribution(pool, base, 0).gates)
        for n in range(5)
    ]
    with pool.lock_for_writing():
        pool.add_sharers(twins)
    recipe = way(base, pool, make_items(4), AssembleConfig(by="gates", top_k=2))
    assert all([s for s, _ in pick] == list(pool.sharers[:2]) for pick in list_picks(recipe))
    assert all([w for _, w in pick] == [0.5, 0.5] for pick in list_picks(recipe))


def test_assemble_samples_per_person(tmp_path: Path) -> None:
    base = make_exact_base()
    pool, config = (
        make_pool(tmp_path, base),
        AssembleConfig(by="gates", top_k=2, sample=True, temperature=3.0),
    )
    people = {name: make_items(3) for name in ("a", "b", "c")}
    together = assemble_recipes(base, pool, people, config)
    for recipe in together:
        alone = assemble_one(base, pool, recipe.person, people[recipe.person], config)
        assert list_picks(recipe) == list_picks(alone)
    assert len({str(list_picks(recipe)) for recipe in together}) == 3  # of the same items
    (other,) = assemble_recipes(base, pool, {"a": people["a"]}, replace(config, seed=1))
    assert list_picks(other) != list_picks(together[0])


@both_ways
def test_assemble_in_bf16_picks_clear_winners(tmp_path: Path, way: Assembling) -> None:
    """Scores stay in fp32: if one sharer is far ahead, the same one is picked."""
    exact = make_exact_base()
    half = make_tiny_base(dtype=torch.bfloat16)
    pool = make_pool(tmp_path, exact)
    recipe = way(half, pool, make_items(5), AssembleConfig(by="gates"))
    expected = list_picks(way(exact, pool, make_items(5), AssembleConfig(by="gates")))
    for ours, theirs in zip(list_picks(recipe), expected, strict=True):
        assert sum(w for _, w in ours) == pytest.approx(1, abs=1e-3)
        for sharer_, weight in theirs:
            assert dict(ours).get(sharer_, 0) == pytest.approx(weight, abs=0.1)


def test_assemble_runs_shared_prefix_once_and_stops_at_last_module(tmp_path: Path) -> None:
    base = make_exact_base()
    model: Any = base.model
    pool = make_pool(tmp_path, base)
    seen: list[int] = []
    above: list[str] = []

    def record_length(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append(output.shape[1])

    handles = [model.get_input_embeddings().register_forward_hook(record_length)]
    for name in ("model.norm", "lm_head", "model.layers.1.mlp"):
        handles.append(
            model.get_submodule(name).register_forward_hook(
                lambda module, inputs, output, name=name: above.append(name)
            )
        )
    opening = tuple(range(20))
    people = {name: make_items(3, seed=n, opening=opening) for n, name in enumerate("ab")}
    assemble_recipes(base, pool, people, ONE)
    for handle in handles:
        handle.remove()
    rows = sum(len(e.ids) - 1 - 20 for items in people.values() for e in items)
    assert seen == [2 * 20 + rows]
    assert above == []
    assert not any(m._forward_hooks for m in model.modules())


def test_assemble_recipes_reports_progress_per_target_user(tmp_path: Path) -> None:
    base = make_exact_base()
    events: list[Event] = []
    people = {name: make_items(2) for name in "abc"}
    pool = make_pool(tmp_path, base)
    assert assemble_recipes(base, pool, {}, ONE) == ()
    assemble_recipes(base, pool, people, ONE, forward_tokens=1, listener=events.append)
    assert [e.done for e in events if isinstance(e, Progress)] == [1, 2, 3]
