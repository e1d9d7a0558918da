"""Assembling on every supported model family, including those without batched assembly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect.models.base import Base
from idiolect.models.forward.partial import has_full_attention
from idiolect.models.load import load_base
from idiolect.pieces.assembly.by_gates import GateAssembly, assemble_recipes
from idiolect.pieces.assembly.by_gates_reference import assemble_one
from idiolect.pieces.recipes.config import AssembleConfig
from idiolect.prompts.render import Example
from support.model_families import MODEL_CONFIGS, save_random_model
from support.sharers import LORA, create_empty_pool, make_contribution

CONFIG = AssembleConfig(by="gates", top_k=2)


@pytest.fixture(params=MODEL_CONFIGS, ids=lambda config: config.model_type)
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Base:
    save_random_model(request.param, tmp_path / "model")
    return load_base(tmp_path / "model", dtype="float64", device="cpu")


def make_items(items: int, longest: int, seed: int) -> tuple[Example, ...]:
    draw = torch.Generator().manual_seed(seed)
    opening = (1, 2, 3, 4, 5)[: longest - 3]
    rows = (
        torch.randint(0, 250, (longest - n % 2,), generator=draw).tolist() for n in range(items)
    )
    return tuple(Example((*opening, *ids)[:longest], longest - 2) for ids in rows)


@pytest.mark.parametrize("longest", [8, 20])
def test_assemble_recipes_equals_reference_on_each_family(
    base: Base, tmp_path: Path, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = create_empty_pool(tmp_path / "pool", base)
    with pool.lock_for_writing():
        pool.add_sharers([make_contribution(pool, base, n) for n in range(4)])
    people = {f"p{n}": make_items(2 + n, longest, n) for n in range(3)}
    together: list[int] = []
    run = GateAssembly.assemble_group

    def record_call(self: GateAssembly, people: Any) -> Any:
        together.append(len(people))
        return run(self, people)

    monkeypatch.setattr(GateAssembly, "assemble_group", record_call)
    found = assemble_recipes(base, pool, people, CONFIG)
    assert together == ([3] if has_full_attention(base, longest) else [])
    windowed = getattr(base.model.config, "sliding_window", None)
    assert bool(together) == (longest == 8 or not windowed)
    for ours, (person, examples) in zip(found, people.items(), strict=True):
        alone = assemble_one(base, pool, person, examples, CONFIG)
        assert (ours.person, ours.sharers) == (person, alone.sharers)
        assert torch.equal(ours.pick, alone.pick)
        assert torch.allclose(ours.weight, alone.weight, rtol=0, atol=1e-3)
    assert len(pool.sites) == len(LORA.targets) * base.model.config.num_hidden_layers
