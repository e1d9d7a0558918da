"""Feed-forward layers in portions: the same numbers, and whole where somebody looks in."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from idiolect.models.base import Base, load_base
from idiolect.models.cpu import chunked_mlp as chunking
from idiolect.models.cpu.chunked_mlp import chunk_mlp
from idiolect.models.tiny import make_tiny_base
from support.model_families import MODEL_CONFIGS, save_random_model

IDS = torch.arange(1, 24)[None]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunking, "CHUNK_TOKENS", 5)


def portions(base: Base, *, hook: str = "", grad: bool = False) -> list[int]:
    """How many tokens a layer's activation saw at a time; a hook sees another module's inputs."""
    seen: list[int] = []
    layer = base.model.get_submodule("model.layers.0.mlp")
    activation = layer.act_fn.forward
    vars(layer.act_fn)["forward"] = lambda x: [seen.append(x.shape[1]), activation(x)][1]
    handles = []
    if hook:
        handles.append(layer.get_submodule(hook).register_forward_hook(lambda *_: None))
    try:
        with chunk_mlp(base.model), torch.set_grad_enabled(grad):
            base.model(input_ids=IDS)
    finally:
        del vars(layer.act_fn)["forward"]
        for handle in handles:
            handle.remove()
    return seen


@pytest.mark.parametrize("kind", MODEL_CONFIGS, ids=lambda config: config.model_type)
@torch.no_grad()
def test_the_numbers_are_the_same(kind: object, tmp_path: Path) -> None:
    save_random_model(kind, tmp_path / "model")
    base = load_base(tmp_path / "model", dtype="float64", device="cpu")
    whole = base.model(input_ids=IDS).logits
    with chunk_mlp(base.model), chunk_mlp(base.model):
        torch.testing.assert_close(base.model(input_ids=IDS).logits, whole, rtol=1e-12, atol=1e-12)
    assert all("forward" not in vars(module) for module in base.model.modules())


def test_only_where_nobody_looks_in() -> None:
    base = make_tiny_base()
    assert portions(base) == [5, 5, 5, 5, 3]
    assert portions(base, hook="down_proj") == [23]
    assert portions(base, grad=True) == [23]


def test_several_rows_stay_together() -> None:
    base = make_tiny_base()
    with torch.no_grad(), chunk_mlp(base.model):
        found = base.model(input_ids=IDS.repeat(2, 1)).logits
        torch.testing.assert_close(found[0], found[1])
