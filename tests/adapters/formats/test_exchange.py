"""Adapters of other tools in a store, and adapters of a store for other tools."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect.adapters.formats.exchange import export_adapter, import_adapter
from idiolect.adapters.formats.peft import save_peft
from idiolect.adapters.lora import LoraAdapter, LoraConfig, require_lora
from idiolect.adapters.store.store import AdapterStore
from idiolect.errors import MismatchError
from idiolect.models.base import Base
from idiolect.models.folder.bundled import BUNDLED_HUB_ID
from idiolect.models.tiny import make_tiny_base
from support.random_adapters import random_adapter

pytestmark = pytest.mark.finding("adapter-patterns")
CONFIG = LoraConfig(rank=2, alpha=4.0, targets=("q_proj", "v_proj"))


@pytest.fixture
def base(monkeypatch: pytest.MonkeyPatch) -> Base:
    """A tiny base, which every load of a base gives."""
    base = replace(make_tiny_base(), source="/bases/tiny-0")

    def give_base(store: Any, name: str | None) -> Base:
        return base

    monkeypatch.setattr("idiolect.adapters.formats.exchange.load_matching_base", give_base)
    return base


@pytest.fixture
def store(base: Base, tmp_path: Path) -> AdapterStore:
    return make_store(tmp_path, base, base.source)


def make_store(folder: Path, base: Base, source: str) -> AdapterStore:
    return AdapterStore.create(
        folder / "store", base, source=source, task="rating", config=CONFIG, settings={}
    )


def save_foreign(folder: Path, base: Base, config: LoraConfig, **fields: Any) -> LoraAdapter:
    """Save an adapter as other tools do, without a manifest, and with these settings."""
    adapter = random_adapter(base, config)
    save_peft(folder, adapter, base_name=base.name)
    (folder / "manifest.json").unlink()
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    return adapter


@pytest.mark.parametrize(
    "config",
    [replace(CONFIG, top_layers=1), replace(CONFIG, targets=("v_proj",))],
    ids=["last layer only", "one module only"],
)
def test_import_adapter_adds_zeros_for_what_adapter_leaves_out(
    config: LoraConfig, base: Base, store: AdapterStore, tmp_path: Path
) -> None:
    adapter = save_foreign(tmp_path / "a", base, config)
    import_adapter(tmp_path / "a", store.folder, "ann")
    found = AdapterStore.open(store.folder).get_adapter("ann")
    pairs = require_lora(found).pairs if found else {}
    assert len(pairs) == 4 > len(adapter.pairs)
    for path, (a, b) in pairs.items():
        given = adapter.pairs.get(path)
        expected = (given[1] @ given[0]) if given else torch.zeros(b.shape[0], a.shape[1])
        assert torch.equal(b @ a, expected)


def test_import_adapter_says_in_words_what_does_not_fit(
    base: Base, store: AdapterStore, tmp_path: Path
) -> None:
    save_foreign(tmp_path / "a", base, LoraConfig(rank=3, alpha=3.0, targets=("o_proj",)))
    with pytest.raises(MismatchError) as error:
        import_adapter(tmp_path / "a", store.folder, "ann")
    assert "has rank 3, alpha 3, targets o_proj, and the store has rank 2" in str(error.value)
    assert "LoraConfig(" not in str(error.value)


@pytest.mark.parametrize("name", ["someone/other-model", "/models/tiny-1"])
def test_import_adapter_refuses_adapter_of_other_base_of_equal_shapes(
    name: str, base: Base, store: AdapterStore, tmp_path: Path
) -> None:
    save_foreign(tmp_path / "a", base, CONFIG, base_model_name_or_path=name)
    with pytest.raises(MismatchError, match=f'made for the base "{name}".*tiny-0'):
        import_adapter(tmp_path / "a", store.folder, "ann")
    assert AdapterStore.open(store.folder).people == ()


@pytest.mark.parametrize("name", [None, "", "tiny-0", "owner/Tiny-0", "/elsewhere/tiny-0"])
def test_import_adapter_takes_base_under_known_name(
    name: str | None, base: Base, store: AdapterStore, tmp_path: Path
) -> None:
    save_foreign(tmp_path / "a", base, CONFIG, base_model_name_or_path=name)
    assert import_adapter(tmp_path / "a", store.folder, "ann").bytes > 0


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("default", BUNDLED_HUB_ID),
        ("hub:owner/model", "owner/model"),
        ("/home/someone/tiny-0", "tiny-0"),
    ],
)
def test_export_adapter_names_base_as_other_tools_find_it(
    source: str, name: str, base: Base, tmp_path: Path
) -> None:
    store = make_store(tmp_path, base, source)
    adapter = save_foreign(tmp_path / "a", base, CONFIG)
    import_adapter(tmp_path / "a", store.folder, "ann")
    export_adapter(AdapterStore.open(store.folder), "ann", tmp_path / "out")
    written = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert written["base_model_name_or_path"] == name
    assert b"someone" not in (tmp_path / "out" / "manifest.json").read_bytes()
    assert adapter.config.rank == written["r"]
