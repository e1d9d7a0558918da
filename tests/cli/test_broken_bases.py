"""Every command that takes a base, with one that fails: one line, and nothing is left behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from idiolect.history.write import write_dataset
from idiolect.models.folder import probe
from idiolect.models.tiny import make_tiny_base
from support.known_models import probe_known_model
from support.run_cli import run_cli
from support.tiny_people import make_rater, save_tiny_base

PEOPLE = ("ann", "bob", "cy", "dee", "eve")
SETTINGS = ("--set", "gates.steps=2", "--set", "leakage.unmeasured=pass", "--set", "harm.on=false")
COMMANDS: dict[str, list[str]] = {
    "base check": ["base", "check", "BASE"],
    "adapt": ["adapt", "data", "--base", "BASE", "--out", "new"],
    "profile": ["profile", "data", "--base", "BASE", "--out", "new"],
    "personalize": ["personalize", "data", "--base", "BASE", "--store", "new"],
    "personalize into a store": ["personalize", "data", "--base", "BASE", "--store", "store"],
    "personalize a shard": [
        *("personalize", "data", "--base", "BASE", "--store", "new", "--shard", "1/2"),
    ],
    "evaluate": ["evaluate", "data", "--base", "BASE", "--out", "new", "--person", "ann"],
    "evaluate with retrieval": [
        *("evaluate", "data", "--base", "base", "--rag-base", "BASE", "--out", "new"),
        *("--person", "ann"),
    ],
    "share": [
        *("share", "store", "--data", "data", "--base", "BASE", "--pool", "new"),
        *("--person", "ann", *SETTINGS),
    ],
    "assemble": [
        *("assemble", "data", "--base", "BASE", "--pool", "pool", "--out", "new", "--top-k", "1"),
    ],
    "predict": ["predict", "store", "--base", "BASE", "--person", "ann", "--input", "Film 3"],
    "export": [
        *("export", "answers", "--base", "BASE", "--person", "ann", "--out", "new"),
    ],
    "import-adapter": [
        *("import-adapter", "adapter", "--store", "store", "--base", "BASE"),
        *("--person", "ann", "--replace"),
    ],
    "unlearn a base": [
        *("unlearn", "BASE", "--forget", "go.jsonl", "--retain", "stay.jsonl", "--out", "new"),
    ],
    "unlearn an adapter": [
        *("unlearn", "adapter", "--base", "BASE", "--out", "new"),
        *("--forget", "go.jsonl", "--retain", "stay.jsonl"),
    ],
    "scorecard": [
        *("scorecard", "BASE", "base", "--out", "new"),
        *("--forget", "go.jsonl", "--retain", "stay.jsonl"),
    ],
    "mean": [
        *("mean", "store", "--data", "data", "--base", "BASE", "--out", "new"),
        *("--people-file", "people.txt"),
    ],
    "withdraw": [
        *("withdraw", "pool", "--store", "store", "--person", "bob", "--base", "BASE"),
        *("--data", "data"),
    ],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, copies of it that fail, and what the commands read: a store, a pool, an adapter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe, "_run_probe", probe_known_model)
        return make_place(tmp_path_factory.mktemp("broken"))


def make_place(place: Path) -> Path:
    save_tiny_base(place / "base")
    for name in ("large-tokenizer", "not-finite"):
        shutil.copytree(place / "base", place / name)
    tokenizer = make_tiny_base().tokenizer
    tokenizer.add_tokens(["<smile>"])
    tokenizer.save_pretrained(place / "large-tokenizer")
    weights = load_file(place / "base" / "model.safetensors")
    weights["model.norm.weight"][:] = float("nan")
    save_file(weights, place / "not-finite" / "model.safetensors", metadata={"format": "pt"})
    for name in ("go", "stay"):
        pairs = [{"prompt": f"{name} {n}?", "response": f"{n}"} for n in range(6)]
        (place / f"{name}.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    raters = [make_rater(person, 9) for person in PEOPLE]
    write_dataset(place / "data", raters, task="rating", source="made up", splits={})
    train = ["personalize", place / "data", "--base", place / "base", "--no-gate", "--store"]
    run_cli(*train, place / "store")
    run_cli(*train, place / "answers", "--set", "lora.active=answer", "--person", "ann")
    (place / "people.txt").write_text("\n".join(PEOPLE))
    for scope in ("pieces", "mean"):
        people = ["--people-file", place / "people.txt"]
        run_cli("consent", place / "store", *people, "--scope", scope)
    share = ["share", place / "store", "--data", place / "data", "--pool", place / "pool"]
    run_cli(*share, "--person", "bob", *SETTINGS)
    recipes = ["--pool", place / "pool", "--out", place / "recipes", "--top-k", "1"]
    run_cli("assemble", place / "data", *recipes, "--person", "ann")
    run_cli("export", place / "store", "--person", "ann", "--out", place / "adapter")
    return place


def list_files(folder: Path) -> dict[str, bytes | None]:
    """Every file, folder and hidden file below a folder, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def work(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the place, without its lock files, as the working folder."""
    monkeypatch.setattr(probe, "_run_probe", probe_known_model)
    work = Path(shutil.copytree(place, tmp_path / "work"))
    for hidden in list(work.rglob(".*.lock")):
        hidden.unlink()
    monkeypatch.chdir(work)
    return work


# The check for finite numbers is the last one, so all commands are tried with it.
CASES = [(name, "not-finite") for name in COMMANDS]
CASES += [("personalize", "large-tokenizer"), ("share", "large-tokenizer"), ("share", "nowhere")]


@pytest.mark.parametrize(("name", "broken"), CASES)
def test_command_with_broken_base_leaves_nothing(name: str, broken: str, work: Path) -> None:
    before = list_files(work)
    arguments = [broken if one == "BASE" else one for one in COMMANDS[name]]
    done = run_cli(*arguments, code=1)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ") and broken in last and "unexpected" not in last
    assert list_files(work) == before


@pytest.mark.parametrize("name", ["adapt", "personalize", "personalize a shard", "evaluate"])
def test_command_with_targets_that_base_lacks_leaves_nothing(name: str, work: Path) -> None:
    before = list_files(work)
    setting = "personal.lora.targets" if name == "evaluate" else "lora.targets"
    arguments = ["base" if one == "BASE" else one for one in COMMANDS[name]]
    done = run_cli(*arguments, "--set", f"{setting}=up_there", code=2)
    assert done.stderr.startswith(f"error: {setting}: ") and "'up_there'" in done.stderr
    assert list_files(work) == before
