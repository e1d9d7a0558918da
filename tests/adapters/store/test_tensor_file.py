"""Tensor files have the same bytes for the same tensors."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load

from idiolect.adapters.store.tensor_file import serialize_tensors

TENSORS = {"layers.0.lora_A": torch.arange(6.0).reshape(2, 3), "b": torch.ones(1)}


def test_serialize_tensors_gives_equal_bytes_each_time() -> None:
    # safetensors alone gives two different files here with a probability of 1 - 2**-29.
    assert len({serialize_tensors(TENSORS, base="f00d") for _ in range(30)}) == 1


def test_serialize_tensors_is_read_back_by_safetensors(tmp_path: Path) -> None:
    body = serialize_tensors(TENSORS, base="f00d")
    found = load(body)
    assert set(found) == set(TENSORS)
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    (tmp_path / "file").write_bytes(body)
    with safe_open(str(tmp_path / "file"), "pt") as file:
        assert file.metadata() == {"format": "pt", "base": "f00d"}
