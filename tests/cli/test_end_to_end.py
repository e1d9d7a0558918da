"""The commands on real folders with a tiny base model."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from idiolect.models.tiny import make_tiny_base
from support.private_files import list_open_paths
from support.run_cli import run_cli, run_cli_json

PEOPLE = {"ann": 16, "bob": 12, "cy": 14, "dee": 2}
"""Number of films that each person rated."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base model, a dataset of four people, and a store of their adapters."""
    place = tmp_path_factory.mktemp("commands")
    tiny = make_tiny_base()
    tiny.model.save_pretrained(place / "base")
    tiny.tokenizer.save_pretrained(place / "base")
    draw = random.Random(0)
    lines = [
        {"person": person, "fields": make_film(draw), "time": 86400 * day}
        for person, count in PEOPLE.items()
        for day in range(count)
    ]
    (place / "ratings.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    run_cli("import", place / "ratings.jsonl", "--task", "rating", "--out", place / "data")
    run_cli("personalize", place / "data", "--store", place / "store", "--base", place / "base")
    return place


def make_film(draw: random.Random) -> dict[str, str]:
    number, rating = draw.randint(1, 99), str(draw.randint(1, 5))
    return {"title": f"Film {number}", "year": "1990", "genres": "Drama", "rating": rating}


def test_inspect_counts_imported_items(place: Path) -> None:
    found = run_cli_json("inspect", place / "data")
    assert (found["people"], found["items"]) == (4, sum(PEOPLE.values()))
    assert (found["shortest"], found["median"], found["longest"]) == (2, 13.0, 16)
    text = run_cli("inspect", place / "data").stdout
    assert "2 / 13 / 16 items per person" in text
    assert "1970-01-01 to 1970-01-16" in text
    assert text.count("\n  title: Film ") == 3
    assert [line for line in text.splitlines() if line.split()[:2] == ["genres", "100.0%"]]


def test_import_of_broken_file_leaves_nothing(place: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text((place / "ratings.jsonl").read_text() + "{oops\n")
    result = run_cli("import", broken, "--task", "rating", "--out", tmp_path / "data", code=1)
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {broken}:{sum(PEOPLE.values()) + 1}: ")
    assert [*tmp_path.iterdir()] == [broken]


def test_personalize_again_trains_no_one(place: Path) -> None:
    arguments = ["personalize", place / "data", "--store", place / "store", "--base"]
    done = run_cli_json(*arguments, place / "base")
    assert (done["trained"], done["unchanged"], done["too_few"]) == ([], [*PEOPLE], ["dee"])


def test_personalize_passes_engine_settings(place: Path, tmp_path: Path) -> None:
    arguments = ["personalize", place / "data", "--base", place / "base", "--store"]
    run_cli(*arguments, tmp_path / "one", "--engine", "slots=1", "--engine", "pack=false")
    run_cli(*arguments, tmp_path / "many")

    def read_slot_counts(store: Path) -> set[int]:
        lines = map(json.loads, (store / "metrics.jsonl").read_text().splitlines())
        return {line["people"] for line in lines if "people" in line}

    assert read_slot_counts(tmp_path / "one") == {1}
    assert max(read_slot_counts(tmp_path / "many")) == 3
    settings = [json.loads((tmp_path / s / "store.json").read_text()) for s in ("one", "many")]
    assert settings[0] == settings[1]
    # Wrong engine settings are named, and no store is created.
    wrong = run_cli(*arguments, tmp_path / "wrong", "--engine", "slots", code=2).stderr
    assert "--engine 'slots': write NAME=VALUE, e.g. compile=true" in wrong
    assert "sluts" in run_cli(*arguments, tmp_path / "wrong", "--engine", "sluts=1", code=2).stderr
    assert not (tmp_path / "wrong").exists()


def test_predict_without_adapter_is_served_by_base(place: Path) -> None:
    arguments = ["predict", place / "store", "--input", "Film 3 (1990), Drama", "--person"]
    unknown = run_cli(*arguments, "eve", code=1)
    assert "no person named 'eve'" in unknown.stderr
    found = run_cli_json(*arguments, "dee")
    assert found["served_by"] == "base"
    assert found["text"] in found["probabilities"]
    assert sum(found["probabilities"].values()) == pytest.approx(1)


@pytest.mark.finding("file-modes")
def test_personalize_shards_then_merge(place: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    arguments = ["personalize", place / "data", "--store", store, "--base", place / "base"]
    done = [run_cli_json(*arguments, "--shard", f"{k}/2") for k in (2, 1)]
    assert sorted(p for d in done for p in (*d["trained"], *d["too_few"])) == [*PEOPLE]
    assert "merge them first" in run_cli(*arguments, code=2).stderr
    assert "write K/N" in run_cli(*arguments, "--shard", "2", code=2).stderr
    # Merging twice is harmless, and afterwards nothing is left to train.
    merged = run_cli_json("merge", store)
    assert (merged["parts"], merged["new"], merged["people"]) == (2, 4, 4)
    assert "no parts to merge" in run_cli("merge", store).stdout
    assert run_cli_json(*arguments)["unchanged"] == [*PEOPLE]
    predict = ["predict", store, "--person", "dee", "--input", "Film 3 (1990), Drama"]
    assert run_cli_json(*predict)["served_by"] == "base"
    assert list_open_paths(tmp_path) == []


@pytest.mark.finding("file-modes")
def test_export_then_import_adapter_keeps_predictions(place: Path, tmp_path: Path) -> None:
    store, out = tmp_path / "store", tmp_path / "adapter"
    options = ["--base", place / "base", "--no-gate"]
    run_cli("personalize", place / "data", "--store", store, "--person", "ann", *options)
    predict = ["predict", store, "--person", "ann", "--input", "Film 3 (1990), Drama"]
    before = run_cli_json(*predict)
    exported = run_cli_json("export", store, "--person", "ann", "--out", out)
    assert exported["folder"] == str(out) and (out / "adapter_config.json").is_file()
    again = ["import-adapter", out, "--store", store, "--person", "ann"]
    assert "already has an adapter" in run_cli(*again, code=2).stderr
    run_cli(*again, "--replace")
    assert run_cli_json(*predict) == before and before["served_by"] == "adapter"
    assert list_open_paths(tmp_path) == []


@pytest.mark.finding("mean-of-few", "private-training")
def test_mean_becomes_start_and_basis(place: Path, tmp_path: Path) -> None:
    """A mean of five people who agreed: as an initial adapter, and as a basis."""
    draw, names = random.Random(1), [f"m{n}" for n in range(5)]
    lines = [
        {"person": person, "fields": make_film(draw), "time": 86400 * day}
        for person in (*names, "new")
        for day in range(22)
    ]
    (tmp_path / "more.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    data, store, mean = tmp_path / "data", tmp_path / "store", tmp_path / "mean"
    run_cli("import", tmp_path / "more.jsonl", "--task", "rating", "--out", data)
    (tmp_path / "people").write_text("\n".join(names))
    people, options = ["--people-file", tmp_path / "people"], ["--base", place / "base"]
    shared = ["--no-gate", "--set", "lora.shared_a=true"]
    run_cli("personalize", data, "--store", store, *people, *options, *shared)
    making = ["mean", store, *people, "--out", mean, "--directions", "2"]
    assert "--data" in run_cli(*making, code=2).stderr
    making += ["--override-leakage", "made-up people"]
    assert "idiolect consent" in run_cli(*making, code=1).stderr
    run_cli("consent", store, *people, "--scope", "mean")
    assert "at least 5 people" in run_cli(*making[:2], *making[4:], code=2).stderr
    made = run_cli_json(*making)
    assert (made["people"], made["folder"], made["directions"]) == (5, str(mean), 2)
    assert "already exists" in run_cli(*making, code=2).stderr
    new = ["personalize", data, "--person", "new", *options, "--start", mean]
    started = [*new, "--store", tmp_path / "new", "--no-gate", "--epochs", "1"]
    assert run_cli_json(*started)["trained"] == ["new"]
    assert run_cli_json(*started)["unchanged"] == ["new"]
    # The same folder as a basis.
    private = [*new, "--store", tmp_path / "private", "--private", "8"]
    shown = run_cli(*private).stdout
    assert "epsilon 8, delta 1e-05 for one record" in shown and "of 100 cases" in shown
    assert run_cli_json(*private)["privacy"]["new"]["epsilon"] == 8.0
    assert "leave out --retrieval" in run_cli(*private, "--retrieval", "bm25", code=2).stderr


def test_consent_is_recorded_listed_and_revoked(place: Path, tmp_path: Path) -> None:
    store, today = tmp_path / "store", datetime.now(UTC).date().isoformat()
    shutil.copytree(place / "store", store)
    assert run_cli("consent", store).stdout == "no consents are recorded\n"
    record = ["consent", store, "--person", "ann", "--person", "dee", "--scope", "mean"]
    (ann, dee) = run_cli_json(*record, "--until", "2999-12-31")
    assert (ann["person"], ann["scope"], ann["until"]) == ("ann", "mean", "2999-12-31")
    assert ann["valid"] and dee["valid"] and ann["since"].startswith(today)
    run_cli("consent", store, "--person", "bob", "--scope", "pieces")
    revoked = run_cli(
        "consent", store, "--person", "dee", "--person", "cy", "--revoke", "--scope", "mean"
    )
    assert revoked.stdout.endswith("no consent to revoke: cy\n") and "dee" in revoked.stdout
    none = run_cli("consent", store, "--person", "cy", "--revoke", "--scope", "mean")
    assert none.stdout == "no consent to revoke: cy\n"
    shown = run_cli("consent", store).stdout.splitlines()
    rows = [line.split() for line in shown if today in line]
    assert rows == [
        ["ann", "mean", today, "2999-12-31", "yes"],
        ["bob", "pieces", today, "no", "end", "yes"],
        ["dee", "mean", today, "2999-12-31", "no,", "revoked", "on", today],
    ]
    assert [c["person"] for c in run_cli_json("consent", store)] == ["ann", "bob", "dee"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--person", "eve", "--scope", "mean"], 1, "no person named 'eve' among its 4 people"),
        (["--person", "eve", "--scope", "mean", "--revoke"], 1, "no person named 'eve'"),
        (["--person", "ann"], 2, "--scope pieces or --scope mean"),
        (["--scope", "mean"], 2, "no person given"),
        (["--revoke"], 2, "no person given"),
        (["--person", "ann", "--scope", "all"], 2, "'all' is not one of 'pieces', 'mean'"),
        (["--person", "ann", "--scope", "mean", "--until", "2020-01-01"], 2, "has passed"),
        (["--person", "ann", "--scope", "mean", "--until", "soon"], 2, "'soon' does not match"),
        (
            ["--person", "ann", "--scope", "mean", "--until", "2999-01-01", "--revoke"],
            2,
            "leave --until out",
        ),
    ],
)
def test_consent_explains_refusals(
    place: Path, tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    store = tmp_path / "store"
    shutil.copytree(place / "store", store)
    before = (store / "ledger" / "events.jsonl").read_bytes()
    result = run_cli("consent", store, *options, code=code)
    assert result.stdout == "" and message in result.stderr
    assert (store / "ledger" / "events.jsonl").read_bytes() == before


@pytest.mark.finding("file-modes")
def test_adapt_excludes_named_people(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapted"
    options = ["--base", place / "base", "--exclude", "ann", "--out", out]
    adapted = run_cli_json("adapt", place / "data", *options)
    assert adapted["people"] == 3 and (out / "manifest.json").is_file()
    report = ["evaluate", place / "data", "--base", out, "--out", tmp_path / "report"]
    assert "was adapted on" in run_cli(*report, "--person", "bob", code=1).stderr
    found = run_cli_json(*report, "--person", "ann")
    assert found["tasks"][0]["people"] == 1
    assert (tmp_path / "report" / "report.html").is_file()
    assert list_open_paths(tmp_path) == []


@pytest.mark.finding("file-modes")
def test_profile_writes_facts_without_model(place: Path, tmp_path: Path) -> None:
    options = ["--writer", "facts", "--out", tmp_path / "profiles"]
    done = run_cli_json("profile", place / "data", *options)
    assert done["people"] == 4 and done["profiles"] >= 4
    assert list_open_paths(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "nothing"],
        ["personalize", "nothing", "--store", "s"],
        ["adapt", "nothing", "--out", "o"],
        ["profile", "nothing", "--out", "o"],
        ["evaluate", "nothing", "--out", "o"],
        ["merge", "nothing"],
        ["consent", "nothing"],
        ["consent", "nothing", "--person", "p", "--scope", "mean"],
        ["share", "nothing", "--data", "d", "--pool", "p"],
        ["pool", "nothing", "--out", "o"],
        ["mean", "nothing", "--person", "p", "--out", "o"],
        ["assemble", "nothing", "--pool", "p", "--out", "o"],
        ["withdraw", "nothing", "--sharer", "s"],
        ["predict", "nothing", "--person", "p", "--input", "x"],
        ["export", "nothing", "--person", "p", "--out", "o"],
        ["import-adapter", "f", "--store", "nothing", "--person", "p"],
        ["import", "nothing", "--out", "o"],
    ],
)
def test_commands_name_missing_path(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_cli(*arguments, code=1)
    assert result.stdout == ""
    assert result.stderr.startswith("error: nothing: ") and result.stderr.count("\n") == 1
    assert [*tmp_path.iterdir()] == []


SCRIPT = """
import sys
from idiolect.cli.main import main
sys.argv = ["idiolect", *{arguments}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print([n for n in ("torch", "transformers", "peft") if n in sys.modules], file=sys.stderr)
"""


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_import_and_inspect_do_not_load_torch(
    place: Path, tmp_path: Path, json_option: list[str]
) -> None:
    source, data = str(place / "ratings.jsonl"), str(tmp_path / "data")
    for arguments in (["import", source, "--task", "rating", "--out", data], ["inspect", data]):
        code = SCRIPT.format(arguments=[*arguments, *json_option])
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stderr == "[]\n"
        assert not json_option or isinstance(json.loads(done.stdout), dict)
