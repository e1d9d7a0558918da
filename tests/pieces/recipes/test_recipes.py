"""Recipes: stored compactly, served exactly, and refused after a sharer withdraws."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from idiolect.adapters.formats.peft import load_peft, save_peft
from idiolect.adapters.kinds import stack_adapters
from idiolect.adapters.lora import LoraConfig
from idiolect.adapters.targets.linear import TargetModule
from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from idiolect.pieces.pool.pool import Pool
from idiolect.pieces.recipes.recipe import Recipe, build_adapter
from idiolect.pieces.recipes.shard import RecipeRecord
from idiolect.pieces.recipes.store import RecipeStore
from support.sharers import LORA, create_empty_pool, make_contribution, make_sharer_id
from support.tiny_people import to_tensor_bytes


@pytest.fixture(scope="module")
def base() -> Base:
    return make_tiny_base()


@pytest.fixture(scope="module")
def pool(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return make_pool(tmp_path_factory.mktemp("p") / "pool", base)


def make_pool(folder: Path, base: Base, lora: LoraConfig = LORA) -> Pool:
    """Four sharers; the last one shares only the first half of the sites."""
    out = create_empty_pool(folder, base, lora)
    with out.lock_for_writing():
        out.add_sharers([make_contribution(out, base, n) for n in range(3)])
        out.add_sharers([make_contribution(out, base, 3, out.sites[: len(out.sites) // 2])])
    return out


def draw_recipe(
    pool: Pool, person: str, *, seed: int = 0, wide: int = 3, aggregate: str = "delta"
) -> Recipe:
    """Pieces of some of the first three sharers; one site has none."""
    draw = torch.Generator().manual_seed(seed)
    sites = len(pool.sites)
    pick = torch.stack([torch.randperm(3, generator=draw)[:wide] for _ in range(sites)])
    weight = torch.rand(sites, wide, generator=draw).softmax(dim=1).half().float()
    pick[1], weight[1] = -1, 0.0
    pick[2, 1:], weight[2, 1:] = -1, 0.0
    used = sorted(set(pick.flatten().tolist()) - {-1})
    number = torch.full((4,), -1)
    number[torch.tensor(used)] = torch.arange(len(used))
    return Recipe(
        person=person,
        sharers=tuple(pool.sharers[n] for n in used),
        pick=number[pick],
        weight=weight,
        aggregate="delta" if aggregate == "delta" else "factors",
    )


def is_same_recipe(one: Recipe | None, other: Recipe) -> bool:
    assert one is not None
    return (
        (one.person, one.sharers, one.aggregate) == (other.person, other.sharers, other.aggregate)
        and torch.equal(one.pick, other.pick)
        and torch.equal(one.weight, other.weight)
    )


def make_record(person: str, made_by: str = "0123456789abcdef") -> RecipeRecord:
    return RecipeRecord(person=person, made_by=made_by, items=20, history="fedcba9876543210")


@pytest.fixture
def store(pool: Pool, tmp_path: Path) -> RecipeStore:
    """Ann and Bob in the first shard; Ann again, and Cy, in the second."""
    out = RecipeStore.create(tmp_path / "recipes", pool, settings={"top_k": 3})
    with out.lock_for_writing():
        out.add_recipes(
            [(make_record(p), draw_recipe(pool, p, seed=n)) for n, p in enumerate(("ann", "bob"))]
        )
        out.add_recipes(
            [(make_record(p, "later"), draw_recipe(pool, p, seed=5)) for p in ("ann", "cy")]
        )
    return out


def compute_update(pair: tuple[Tensor, Tensor], scale: float) -> Tensor:
    return scale * (pair[1].double() @ pair[0].double())


def test_build_adapter_delta_sums_weighted_updates(pool: Pool, base: Base) -> None:
    recipe = draw_recipe(pool, "ann")
    adapter = build_adapter(recipe, pool).check_matches_base(base)
    assert (adapter.config.rank, adapter.config.alpha) == (8, 8.0)
    for site, path in enumerate(pool.sites):
        expected = torch.zeros(1, dtype=torch.float64)
        for n, w in zip(recipe.pick[site].tolist(), recipe.weight[site].tolist(), strict=True):
            if n >= 0:
                pair = pool.load_pieces(recipe.sharers[n])[path]
                expected = expected + w * compute_update(pair, LORA.scale)
        found = compute_update(adapter.pairs[path], adapter.config.scale)
        assert torch.allclose(found, expected, rtol=0, atol=1e-7)
    assert not adapter.pairs[pool.sites[1]][1].any()


def test_build_adapter_factors_sums_a_and_b(pool: Pool, base: Base) -> None:
    recipe = draw_recipe(pool, "ann", aggregate="factors")
    adapter = build_adapter(recipe, pool).check_matches_base(base, LORA)
    for site, path in enumerate(pool.sites):
        a, b = (torch.zeros_like(part) for part in adapter.pairs[path])
        for n, w in zip(recipe.pick[site].tolist(), recipe.weight[site].tolist(), strict=True):
            if n >= 0:
                down, up = pool.load_pieces(recipe.sharers[n])[path]
                a, b = a + w * down, b + w * up
        assert torch.allclose(adapter.pairs[path][0], a, atol=1e-7)
        assert torch.allclose(adapter.pairs[path][1], b, atol=1e-7)


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_build_adapter_padded_rank_matches_peft(base: Base, tmp_path: Path) -> None:
    from peft import PeftModel

    pool = make_pool(tmp_path / "pool", base, replace(LORA, rank=8, alpha=16.0))
    adapter = build_adapter(draw_recipe(pool, "ann"), pool)
    assert adapter.config.rank == 32
    save_peft(tmp_path / "out", adapter, base_name=base.name)
    ids = torch.randint(0, 200, (2, 12), generator=torch.Generator().manual_seed(7))
    with stack_adapters(base, [adapter]).activate(torch.zeros(2, dtype=torch.long)):
        ours = base.model(input_ids=ids).logits
    bare = base.model(input_ids=ids).logits
    theirs = PeftModel.from_pretrained(make_tiny_base().model, tmp_path / "out")(
        input_ids=ids
    ).logits
    assert (ours - theirs).abs().max() < 1e-4 < (ours - bare).abs().max()
    assert to_tensor_bytes(load_peft(tmp_path / "out", base)) == to_tensor_bytes(adapter)


def test_build_adapter_rejects_withdrawn_sharer(base: Base, tmp_path: Path) -> None:
    pool = make_pool(tmp_path / "pool", base)
    recipe = draw_recipe(pool, "ann")
    with pool.lock_for_writing():
        pool.remove_sharers([make_sharer_id(3)])
    build_adapter(recipe, pool)
    with pool.lock_for_writing():
        pool.remove_sharers([make_sharer_id(1)])
    with pytest.raises(MismatchError, match=rf"'ann'.*{make_sharer_id(1)}.*idiolect assemble"):
        build_adapter(recipe, pool)


def test_build_adapter_rejects_other_modules(pool: Pool) -> None:
    recipe = draw_recipe(pool, "ann")
    with pytest.raises(MismatchError, match="'ann' is for 7 modules"):
        build_adapter(replace(recipe, pick=recipe.pick[:7], weight=recipe.weight[:7]), pool)


def test_recipe_store_returns_what_was_added(store: RecipeStore, pool: Pool) -> None:
    for found in (store, RecipeStore.open(store.folder)):
        assert found.people == ("ann", "bob", "cy")
        assert is_same_recipe(found.load_recipe("ann"), draw_recipe(pool, "ann", seed=5))
        assert is_same_recipe(found.load_recipe("bob"), draw_recipe(pool, "bob", seed=1))
        assert found.load_recipe("stranger") is None and found.get_record("stranger") is None
        assert found.get_record("ann") == make_record("ann", "later")
        assert (
            found.people_using([make_sharer_id(0)]) == ("ann", "bob", "cy")
            and found.people_using([make_sharer_id(3)]) == ()
        )
        found.require_pool(pool)


@settings(max_examples=20)
@given(
    recipes=st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(1, 3), st.booleans()),
        min_size=1,
        max_size=6,
    ),
    removed_person=st.sampled_from(["", "a", "c"]),
)
def test_recipe_store_keeps_last_recipe_per_person(
    pool: Pool,
    tmp_path_factory: pytest.TempPathFactory,
    recipes: list[tuple[str, int, int, bool]],
    removed_person: str,
) -> None:
    """Wide and narrow recipes, both aggregates, and a person who is removed."""
    store = RecipeStore.create(tmp_path_factory.mktemp("r") / "r", pool, settings={})
    expected: dict[str, Recipe] = {}
    with store.lock_for_writing():
        for start in range(0, len(recipes), 2):
            group = {
                p: draw_recipe(pool, p, seed=s, wide=w, aggregate="factors" if f else "delta")
                for p, s, w, f in recipes[start : start + 2]
            }
            store.add_recipes([(make_record(p), recipe) for p, recipe in group.items()])
            expected |= group
        store.compact(without=[removed_person])
        expected.pop(removed_person, None)
    for found in (store, RecipeStore.open(store.folder)):
        assert found.people == tuple(sorted(expected))
        assert all(is_same_recipe(found.load_recipe(p), recipe) for p, recipe in expected.items())


def test_compact_erases_removed_person(store: RecipeStore) -> None:
    with store.lock_for_writing():
        store.compact(without=["ann"])
    on_disk = b"".join(p.read_bytes() for p in store.folder.rglob("*") if p.is_file())
    assert b"ann" not in on_disk and b"bob" in on_disk


def test_compact_loses_nothing_if_killed(
    store: RecipeStore, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink
    for lasting in range(4):
        removed: list[Path] = []

        def unlink_or_die(
            path: Path, missing_ok: bool = False, removed: list[Path] = removed, n: int = lasting
        ) -> None:
            if path.parent.name == "shards":
                if len(removed) == n:
                    raise KeyboardInterrupt
                removed.append(path)
            unlink(path, missing_ok=missing_ok)

        with store.lock_for_writing(), monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", unlink_or_die)
            with suppress(KeyboardInterrupt):
                store.compact(without=["cy"])
        store = RecipeStore.open(store.folder)
        assert is_same_recipe(store.load_recipe("ann"), draw_recipe(pool, "ann", seed=5))
        assert is_same_recipe(store.load_recipe("bob"), draw_recipe(pool, "bob", seed=1))
    with store.lock_for_writing():
        store.compact(without=["cy"])
    assert store.people == ("ann", "bob")


def test_recipe_store_writes_new_settings_under_lock(store: RecipeStore, pool: Pool) -> None:
    again = RecipeStore.create(store.folder, pool, settings={"top_k": 1})
    assert RecipeStore.open(store.folder).settings == {"top_k": 3}
    with again.lock_for_writing():
        pass
    assert RecipeStore.open(store.folder).settings == {"top_k": 1}


def test_recipe_store_takes_at_most_two_kilobytes_per_person(
    base: Base, pool: Pool, tmp_path: Path
) -> None:
    """Counts all bytes on disk for 100 people, 120 modules with names as long as the default
    base's, three pieces per module, and 30 sharers."""
    head = Pool.read_header(pool.folder)
    paths = [f"model.layers.{n}.self_attn.{x}_proj" for n in range(30) for x in "qkvo"]
    head["sites"] = [{"path": path, "inputs": 576, "outputs": 576} for path in paths]
    (tmp_path / "pool").mkdir()
    large = Pool(tmp_path / "pool", head)
    store = RecipeStore.create(tmp_path / "recipes", large, settings={"top_k": 3, "seed": 0})
    draw = torch.Generator().manual_seed(0)
    recipes: list[Recipe] = []
    for n in range(100):
        pick = torch.stack([torch.randperm(30, generator=draw)[:3] for _ in paths])
        weight = torch.full((120, 3), 1 / 3).half().float()
        recipe = Recipe(
            person=f"a-person-{n:06d}",
            sharers=tuple(make_sharer_id(n) for n in range(30)),
            pick=pick,
            weight=weight,
            aggregate="delta",
        )
        recipes.append(recipe)
    with store.lock_for_writing():
        store.add_recipes([(make_record(recipe.person), recipe) for recipe in recipes])
    size = sum(p.stat().st_size for p in store.folder.rglob("*") if p.is_file())
    assert size <= 100 * 2048
    assert is_same_recipe(
        RecipeStore.open(store.folder).load_recipe("a-person-000077"), recipes[77]
    )


@pytest.mark.parametrize("file", ["000001.safetensors", "000001.json", "recipes.json"])
def test_recipe_store_detects_changed_byte(store: RecipeStore, file: str) -> None:
    path = next(store.folder.rglob(file))
    for place in (0, len(path.read_bytes()) // 2, -2):
        raw = bytearray(path.read_bytes())
        raw[place] ^= 1
        path.write_bytes(raw)
        with pytest.raises(IntegrityError, match=path.name):
            RecipeStore.open(store.folder).load_recipe("bob")
        raw[place] ^= 1
        path.write_bytes(raw)
    assert RecipeStore.open(store.folder).load_recipe("bob") is not None


def test_recipe_store_rejects_other_pools_and_folders(
    store: RecipeStore, base: Base, tmp_path: Path
) -> None:
    with pytest.raises(MissingError, match=r"no store of recipes there.*idiolect assemble"):
        RecipeStore.open(tmp_path)
    other = make_pool(tmp_path / "other", base)
    with pytest.raises(MismatchError, match="its recipes are for the pool that was in"):
        RecipeStore.create(store.folder, other, settings={})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(UsageError, match="holds other files"):
        RecipeStore.create(tmp_path / "mine", other, settings={})
    (store.folder / "shards" / "notes.txt").touch()
    with pytest.raises(IntegrityError, match="foreign file"):
        RecipeStore.open(store.folder)


def test_recipe_asserts_storable_weights(pool: Pool) -> None:
    recipe = draw_recipe(pool, "ann")
    bad: list[Callable[[Tensor], Tensor]] = [
        lambda w: w + 1e-5,
        lambda w: torch.full_like(w, torch.nan),
        lambda w: torch.ones_like(w),
    ]
    for change in bad:
        with pytest.raises(AssertionError):
            replace(recipe, weight=change(recipe.weight))
    with pytest.raises(AssertionError):
        replace(recipe, sharers=(*recipe.sharers, make_sharer_id(3)))


def test_pool_modules_have_widths(pool: Pool) -> None:
    assert pool.modules[1] == TargetModule(pool.sites[1], 32, 16)
