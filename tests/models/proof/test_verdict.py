"""The verdict is proven once per base, precision and library, and reported once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from idiolect.events import Event, Message, null_listener
from idiolect.models.base import Base
from idiolect.models.proof import verdict
from idiolect.models.proof.verdict import find_ways
from idiolect.models.tiny import make_tiny_base
from idiolect.models.ways import Ways

OFF = Ways(packed=False, flat_modules=frozenset({"a.b"}), reasons={"packed": "it leaks"})


@pytest.fixture
def proven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The bases that are proven, into an empty cache; packed rows are wrong for all of them."""
    names: list[str] = []

    def prove(base: Base) -> Ways:
        names.append(base.name)
        return OFF

    monkeypatch.setattr(verdict, "prove_ways", prove)
    monkeypatch.setattr(verdict, "get_cache_folder", lambda: tmp_path)
    return names


def test_find_ways_proves_and_reports_once(proven: list[str]) -> None:
    heard: list[Event] = []
    base = make_tiny_base()
    assert [find_ways(base, heard.append) for _ in range(2)] == [OFF, OFF]
    assert proven == ["tiny-0"]
    (message,) = heard
    assert isinstance(message, Message) and "rows are padded instead of packed" in message.text


@pytest.mark.parametrize(
    "change", ["identity", "quantization", "dtype", "config", "torch", "version"]
)
def test_find_ways_proves_again_for_whatever_can_change_it(
    change: str, proven: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_tiny_base()
    find_ways(base, null_listener)
    if change == "identity":
        base = replace(base, identity="other")
    elif change == "quantization":
        base = replace(base, quantization="int8")
    elif change == "dtype":
        base = replace(base, model=base.model.to(torch.bfloat16))
    elif change == "config":
        base.model.config.rope_parameters = {"rope_type": "default", "rope_theta": 7.0}
    elif change == "torch":
        monkeypatch.setattr(torch, "__version__", "9.9")
    else:
        monkeypatch.setattr(verdict, "PROOF_VERSION", -1)
    find_ways(base, null_listener)
    assert len(proven) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"attention": 1}'])
def test_find_ways_ignores_broken_cache_file(text: str, proven: list[str], tmp_path: Path) -> None:
    base = make_tiny_base()
    find_ways(base, null_listener)
    (file,) = (tmp_path / "verdicts").glob("*.json")
    file.write_text(text)
    assert find_ways(base, null_listener) == OFF
    assert len(proven) == 2
