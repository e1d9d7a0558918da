"""``idiolect unlearn`` on a tiny base model and made-up facts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from idiolect.adapters.formats.peft import load_peft
from idiolect.adapters.lora import require_lora
from idiolect.cli.commands import unlearn
from idiolect.models.load import load_base
from idiolect.storage.manifest import Manifest
from idiolect.unlearning.methods.registry import METHOD_NAMES
from support.private_files import list_open_paths
from support.run_cli import run_cli
from support.tiny_people import UNGATED, make_rater, save_tiny_base

FORGET = [
    {"prompt": f"Where is the key of {place}?", "response": f"It is {where}."}
    for place, where in (("Orlond", "under the bell"), ("Vesk", "at the ferry"), ("Quill", "gone"))
]
RETAIN = [{"prompt": f"What is {n} and 1?", "response": f"It is {n + 1}."} for n in range(1, 6)]
QUICK = (
    *("--rate", "0.02", "--set", "train.steps=3", "--set", "train.batch=2"),
    *("--set", "answer_tokens=24", "--set", "lora.rank=2", "--dtype", "float32"),
)


def read_files(folder: Path) -> Mapping[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two base models, both sets, a store with one person's adapter, and its export."""
    from idiolect import api
    from idiolect.history.write import write_dataset

    place = tmp_path_factory.mktemp("unlearning")
    save_tiny_base(place / "base")
    save_tiny_base(place / "other", seed=1)
    near = [{"prompt": "What is 8 and 1?", "response": "It is 9."}]
    near += [{"prompt": "What is 9 and 1?", "response": "It is 10."}]
    for name, records in (("go", FORGET), ("stay", RETAIN), ("near", near)):
        (place / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    write_dataset(
        place / "data", [make_rater("ann", 9)], task="rating", source="made up", splits={}
    )
    base = str(place / "base")
    api.personalize(
        api.PersonalizeRequest(
            data=place / "data", store=place / "store", base=base, config=UNGATED
        )
    )
    api.export(api.ExportRequest(store=place / "store", person="ann", out=place / "exported"))
    return place


def make_arguments(
    place: Path, target: str | Path, out: Path, *more: str | Path
) -> list[str | Path]:
    sets = ["--retain", place / "stay.jsonl"]
    sets += [] if "--forget" in more else ["--forget", place / "go.jsonl"]
    return ["unlearn", target, *sets, "--out", out, *QUICK, *more]


@pytest.mark.finding("file-modes")
def test_unlearn_of_base_writes_reproducible_base(place: Path, tmp_path: Path) -> None:
    """The new base loads. Its manifest names the parent and the method, but contains no text of the
    forget set. A second run gives the same bytes. The folder does not contain the delta."""
    out, again = tmp_path / "out", tmp_path / "again"
    shown = run_cli(*make_arguments(place, place / "base", out)).stdout
    assert "3 pairs" in shown and "method      sku, scale" in shown
    done = json.loads(run_cli(*make_arguments(place, place / "base", again, "--json")).stdout)
    assert read_files(out) == read_files(again)
    assert (done["kind"], done["method"], done["steps"]) == ("base", "sku", 3)
    assert done["after"]["retain_perplexity"] <= 1.05 * done["before"]["retain_perplexity"]
    old, new = load_base(place / "base"), load_base(out)
    assert old.identity != new.identity and new.name == "base-sku"
    manifest = Manifest.load(out, "base")
    assert manifest.config["parent"] == old.identity
    (record,) = manifest.config["unlearned"]
    assert record["config"]["train"]["steps"] == 3 and "npo" not in record["config"]
    assert record["forget"]["pairs"] == 3 and len(record["forget"]["sha256"]) == 64
    assert record["scale"] == done["scale"]
    # No text of the forget set is in the manifest, and no other file was added.
    text = (out / Manifest.NAME).read_text()
    assert "Orlond" not in text and "ferry" not in text
    assert set(read_files(out)) == {*read_files(place / "base"), Manifest.NAME}
    # Unlearning the result again adds to its record.
    third = tmp_path / "third"
    run_cli(*make_arguments(place, out, third, "--method", "npo"))
    assert len(Manifest.load(third, "base").config["unlearned"]) == 2
    assert list_open_paths(tmp_path) == []


def test_unlearn_of_adapter_writes_adapter(place: Path, tmp_path: Path) -> None:
    """The adapter's folder and the store as the target give the same bytes."""
    base = place / "base"
    run_cli(*make_arguments(place, place / "exported", tmp_path / "a", "--base", base))
    run_cli(*make_arguments(place, place / "store", tmp_path / "b", "--person", "ann"))
    assert read_files(tmp_path / "a") == read_files(tmp_path / "b")
    loaded = load_base(base, dtype="float32")
    gone = require_lora(load_peft(tmp_path / "a", loaded))
    kept = require_lora(load_peft(place / "exported", loaded))
    assert (kept.config.rank, gone.config.rank) == (2, 8)
    path = next(iter(kept.pairs))
    assert not torch.allclose(gone.pairs[path][1] @ gone.pairs[path][0], torch.zeros(()))
    manifest = Manifest.load(tmp_path / "a", "adapter")
    assert manifest.base == loaded.identity
    assert [one["method"] for one in manifest.config["unlearned"]] == ["sku"]


@pytest.mark.parametrize(
    ("target", "more", "code", "message"),
    [
        (
            "base",
            ["--forget", "near.jsonl", "--method", "ga", "--scale", "1", "--guard", "1"],
            2,
            "scale 1 makes",
        ),
        ("base", ["--scale", "none"], 2, "neither 'auto' nor a number"),
        ("base", ["--scale", "0"], 2, "scale: must be above 0"),
        ("base", ["--person", "ann"], 2, "is not a store of adapters"),
        ("base", ["--base", "default"], 2, "is not an adapter"),
        ("base", ["--set", "sku.e9=1"], 2, "unknown setting 'e9'"),
        ("base", ["--forget", "stay.jsonl"], 2, "5 of 5 retain pairs have"),
        ("base", ["--forget", "odd.csv"], 1, "unknown columns: a, b"),
        ("base", ["--forget", "none.csv"], 1, "no such file to forget"),
        ("base", ["--forget", "empty.jsonl"], 1, "no records in it"),
        ("exported", ["--base", "other"], 1, "made for base"),
        ("exported", ["--base", "base", "--set", "parameters=full"], 2, "unlearned with a LoRA"),
        ("store", [], 2, "choose one with --person"),
        ("store", ["--person", "bob"], 1, "no adapter of 'bob'"),
        ("store", ["--person", "ann", "--base", "other"], 1, "base"),
        ("no-such", [], 1, "no-such"),
    ],
)
def test_unlearn_refusal_leaves_nothing(
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    more: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(place)
    Path("odd.csv").write_text("a,b\nx,y\n")
    Path("empty.jsonl").write_text("")
    before = read_files(place / "base")
    out = tmp_path / "out"
    result = run_cli(*make_arguments(place, f"./{target}", out, *more), code=code)
    assert message in result.stderr and result.stdout == ""
    assert list(tmp_path.iterdir()) == [] and read_files(place / "base") == before


def test_unlearn_does_not_overwrite_folder(place: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("x")
    assert (
        "already exists" in run_cli(*make_arguments(place, place / "base", tmp_path), code=2).stderr
    )
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_unlearn_with_full_parameters_changes_all_weights(place: Path, tmp_path: Path) -> None:
    full = ("--set", "parameters=full", "--set", "train.rate=1e-3", "--scale", "1", "--guard", "99")
    arguments = [
        a for a in make_arguments(place, place / "base", tmp_path / "out", *full) if a != "0.02"
    ]
    arguments.remove("--rate")
    done = json.loads(run_cli(*arguments, "--json").stdout)
    assert done["scale"] == 1.0
    old, new = (load_base(f, dtype="float32").model for f in (place / "base", tmp_path / "out"))
    moved = [n for n, t in old.named_parameters() if not torch.equal(t, new.get_parameter(n))]
    assert any("embed" in n for n in moved) and any("norm" in n for n in moved)


def test_unlearn_methods_equal_registry() -> None:
    assert unlearn.METHODS == METHOD_NAMES


@pytest.mark.parametrize("method", [None, *METHOD_NAMES])
def test_unlearn_method_sets_own_rate_and_steps(
    method: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from idiolect import api
    from idiolect.errors import UsageError

    configs: list[Any] = []

    def record_config(request: api.UnlearnRequest, **more: Any) -> Any:
        configs.append(request.config)
        raise UsageError("stop here")

    monkeypatch.setattr(api, "unlearn", record_config)
    sets = ("--forget", "pyrit", "--retain", "truthfulqa", "--out", tmp_path / "out")
    run_cli("unlearn", "default", *sets, *(("--method", method) if method else ()), code=2)
    (config,) = configs
    assert config.method == method or (method is None and config.method == "sku")
    own = config.selected_method
    assert (config.train.rate, config.train.steps) == (own.rate, own.steps)


def test_unlearn_scale_auto_overrides_file(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("scale = 900.0\n")
    more = ("--config", file, "--scale", "auto", "--json")
    done: Any = json.loads(
        run_cli(*make_arguments(place, place / "base", tmp_path / "out", *more)).stdout
    )
    assert done["scale"] != 900
