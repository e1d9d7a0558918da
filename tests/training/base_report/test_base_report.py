from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idiolect.errors import IntegrityError, MismatchError, UsageError
from idiolect.models.base import Base
from idiolect.models.folder import probe
from idiolect.models.folder.weights import hash_weights
from idiolect.models.load import load_base
from idiolect.models.tiny import make_tiny_base
from idiolect.models.ways import WAY_COSTS, Ways
from idiolect.training.base_report import base_report
from idiolect.training.base_report.base_report import check_base
from support.known_models import probe_known_model
from support.tiny_people import write_tiny_folder


@pytest.fixture(scope="module")
def saved_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bases") / "little"
    write_tiny_folder(folder)
    return folder


@pytest.fixture
def folder(saved_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(probe, "_run_probe", probe_known_model)
    return Path(shutil.copytree(saved_folder, tmp_path / "little"))


def test_check_base_reports_what_it_loaded(folder: Path) -> None:
    found = check_base(str(folder), dtype="float32", device="cpu")
    assert (found.name, found.identity) == ("little", hash_weights(folder))
    assert (found.family, found.architecture) == ("llama", "LlamaForCausalLM")
    assert (found.layers, found.max_tokens, found.device) == (2, 1024, "cpu")
    assert found.dtype == "float32" and found.not_loaded == ""
    assert found.parameters == sum(one.numel() for one in make_tiny_base().model.parameters())
    assert found.targets == ("q_proj", "v_proj") and found.target_modules == 4
    assert found.adapter_parameters == 2 * 8 * ((32 + 32) + (32 + 16))
    assert [one.precision for one in found.memory] == ["bf16", "nf4"]
    assert [one.way for one in found.ways] == list(WAY_COSTS)
    assert {one.tool: one.works for one in found.exports}["PEFT"] == "yes"


def test_way_costs_names_every_way() -> None:
    ways = {name for name in Ways.__slots__ if isinstance(getattr(Ways(), name), bool)}
    assert ways == set(WAY_COSTS)


def test_check_base_says_what_a_way_that_is_off_costs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_without_packing(*arguments: Any, **options: Any) -> Base:
        ways = Ways(
            packed=False,
            reasons={"packed": "rows see each other"},
            flat_modules=frozenset({"model.layers.0.mlp.fc1"}),
        )
        return replace(load_base(*arguments, **options), ways=ways)

    monkeypatch.setattr(base_report, "load_base", load_without_packing)
    found = check_base(str(folder), dtype="float32", device="cpu")
    (off,) = [one for one in found.ways if not one.right]
    assert (off.way, off.differs) == ("packed", "rows see each other")
    assert off.costs == WAY_COSTS["packed"]
    assert found.flat_modules == ("fc1",)


def test_check_base_does_not_load_what_has_no_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = check_base(str(folder), dtype="float32", device="cpu")

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("loads the weights")

    monkeypatch.setattr(base_report, "load_base", fail)
    monkeypatch.setattr(base_report, "get_free_bytes", lambda device: 1000)
    found = check_base(str(folder), dtype="float32", device="cpu")
    assert found.not_loaded.startswith("the weights take 0.0 GB and cpu has 0.0 GB free")
    assert replace(whole, identity="", ways=(), not_loaded=found.not_loaded) == found


def test_check_base_raises_what_load_base_raises(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(IntegrityError, match=r"no \.safetensors weights there"):
        check_base(str(folder), device="cpu")


def test_check_base_refuses_base_without_targets(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_none(*_: object) -> None:
        raise UsageError("lora.targets: none")

    monkeypatch.setattr(base_report, "target_modules", find_none)
    with pytest.raises(MismatchError, match=r"little: lora\.targets: none"):
        check_base(str(folder), dtype="float32", device="cpu")
