"""Chunked feed-forward layers give the same numbers, and run whole if gradients or hooks need
it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from idiolect.models.base import Base
from idiolect.models.cpu import chunked_mlp
from idiolect.models.cpu.chunked_mlp import chunk_mlp
from idiolect.models.load import load_base
from idiolect.models.tiny import make_tiny_base
from support.model_families import MODEL_CONFIGS, save_random_model

IDS = torch.arange(1, 24)[None]


@pytest.fixture(autouse=True)
def _use_small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunked_mlp, "CHUNK_TOKENS", 5)


def record_chunk_sizes(base: Base, *, hook: str = "", grad: bool = False) -> list[int]:
    """Return the numbers of tokens that a layer's activation received; ``hook`` names a module to
    hook."""
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
def test_chunk_mlp_gives_same_logits(kind: object, tmp_path: Path) -> None:
    save_random_model(kind, tmp_path / "model")
    base = load_base(tmp_path / "model", dtype="float64", device="cpu")
    whole = base.model(input_ids=IDS).logits
    # Nested contexts must not patch twice.
    with chunk_mlp(base.model), chunk_mlp(base.model):
        torch.testing.assert_close(base.model(input_ids=IDS).logits, whole, rtol=1e-12, atol=1e-12)
    assert all("forward" not in vars(module) for module in base.model.modules())


def test_chunk_mlp_runs_whole_with_hooks_or_gradients() -> None:
    base = make_tiny_base()
    assert record_chunk_sizes(base) == [5, 5, 5, 5, 3]
    assert record_chunk_sizes(base, hook="down_proj") == [23]
    assert record_chunk_sizes(base, grad=True) == [23]


def test_chunk_mlp_keeps_batches_whole() -> None:
    base = make_tiny_base()
    with torch.no_grad(), chunk_mlp(base.model):
        found = base.model(input_ids=IDS.repeat(2, 1)).logits
        torch.testing.assert_close(found[0], found[1])
