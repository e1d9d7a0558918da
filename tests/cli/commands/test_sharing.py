"""``idiolect consent``, ``share``, ``assemble`` and ``pool`` on a tiny base model."""

from __future__ import annotations

import json
import random
import re
import shlex
import shutil
from pathlib import Path

import pytest

from idiolect.models.tiny import make_tiny_base
from support.private_files import list_open_paths
from support.run_cli import run_cli, run_cli_json

PEOPLE = {"annabel": 16, "bartholomew": 14, "cressida": 12}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three people and a store of their adapters, trained on all items."""
    place = tmp_path_factory.mktemp("sharing")
    # All items are trained on (--no-gate), so the audit has no held-out items.
    tiny = make_tiny_base()
    tiny.model.save_pretrained(place / "base")
    tiny.tokenizer.save_pretrained(place / "base")
    draw = random.Random(0)
    lines = [
        {
            "person": person,
            "fields": {
                "title": f"Film {draw.randint(1, 99)}",
                "year": "1990",
                "genres": "Drama",
                "rating": str(draw.randint(1, 5)),
            },
            "time": 86400 * day,
        }
        for person, count in PEOPLE.items()
        for day in range(count)
    ]
    (place / "ratings.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    run_cli("import", place / "ratings.jsonl", "--task", "rating", "--out", place / "data")
    trained = ["personalize", place / "data", "--store", place / "store", "--base", place / "base"]
    run_cli(*trained, "--no-gate")
    return place


def test_share_requires_consent_audits_and_adds_to_pool(place: Path, tmp_path: Path) -> None:
    store, pool = place / "store", tmp_path / "pool"
    share = ["share", store, "--data", place / "data", "--pool", pool, "--set", "gates.steps=3"]
    share += ["--set", "harm.on=false"]
    two = ["--person", "annabel", "--person", "bartholomew"]
    message = run_cli(*share, *two, code=1).stderr
    assert "no valid consent to scope 'pieces'" in message and not pool.exists()
    run_cli(*shlex.split(message.strip().split("run: idiolect ")[1]))
    # The audit cannot measure these people, so it refuses them.
    shown = run_cli(*share, "--strategy", "most-active").stdout
    assert shown.count("too few items") == 4 and shown.count("not measured") == 4
    assert re.search("refused +2 people: annabel, bartholomew\n", shown)
    assert "0 sharers" in shown
    assert "train with the do-no-harm gate" in re.sub(r"\s+", " ", shown)
    # With a setting that accepts unmeasured people, one is shared, then the other.
    passed = [*share, "--strategy", "most-active", "--set", "leakage.unmeasured=pass"]
    done = run_cli_json(*passed, "--sharers", "1", "--ratio", "0.5", "--seed", "3")
    (finding,) = done["findings"]
    assert (finding["person"], finding["outcome"]) == ("annabel", "shared")
    assert done["sharers"] == 1 and finding["about"]["gate_steps"] == 3
    head = json.loads((pool / "pool.json").read_text())["content"]
    assert head["settings"]["gates"]["steps"] == 3
    shown = run_cli(*passed).stdout
    assert re.search(r"shared +1 person\n", shown)
    assert re.search(r"already in the pool +1 person\n", shown) and "2 sharers" in shown
    report = json.loads(Path(done["report"]).read_text())["content"]
    assert [one["shared"] for one in report["people"]] == [True, True]
    # Neither names nor texts are in any file of the pool.
    everything = b"".join(p.read_bytes() for p in pool.rglob("*") if p.is_file())
    assert not any(person.encode() in everything for person in PEOPLE)
    assert b"Film" not in everything


@pytest.mark.finding("file-modes")
def test_pool_reports_use_by_recipes(place: Path, tmp_path: Path) -> None:
    store, pool, out = tmp_path / "store", tmp_path / "pool", tmp_path / "report"
    shutil.copytree(place / "store", store)
    two = ["--person", "annabel", "--person", "bartholomew"]
    run_cli("consent", store, *two, "--scope", "pieces")
    settings = ["--set", "gates.steps=2", "--set", "leakage.unmeasured=pass"]
    settings += ["--set", "harm.on=false"]
    run_cli("share", store, "--data", place / "data", "--pool", pool, *two, *settings)
    recipes = tmp_path / "recipes"
    run_cli("assemble", place / "data", "--pool", pool, "--out", recipes, "--top-k", "2")
    found = run_cli_json("pool", pool, "--recipes", recipes, "--out", out)
    assert json.loads((out / "report.json").read_text()) == found
    assert found["recipes"]["newcomers"] == len(PEOPLE)
    timed = found["recipes"]["timed"]
    assert (timed["people"], timed["items"]) == (len(PEOPLE), sum(PEOPLE.values()))
    assert timed["seconds"] > 0 and timed["tokens"] > timed["items"]
    shown = run_cli("pool", pool, "--out", out).stdout
    assert all(sharer["sharer"] in shown for sharer in found["sharers"])
    assert str(out / "report.html") in shown
    written = "".join(path.read_text() for path in out.iterdir())
    assert not any(person in written + shown for person in PEOPLE)
    assert list_open_paths(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--ratio", "1.5"], 2, "ratio: must be above 0"),
        (["--sharers", "0"], 2, "0 is not in the range"),
        (["--override-leakage", " "], 2, "override of leakage: the reason must have"),
        (["--override-harm", ""], 2, "override of harm: the reason must have"),
        (["--set", "harm.threshold=2"], 2, "harm.threshold: must be at least 0 and below 1"),
        (["--set", "gates.stops=1"], 2, "unknown setting 'stops'"),
        (["--person", "eve"], 1, "no person named 'eve' among its 3 people"),
    ],
)
def test_share_explains_refusals(
    place: Path, tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    share = ["share", place / "store", "--data", place / "data", "--pool", tmp_path / "pool"]
    assert message in run_cli(*share, *options, code=code).stderr
    assert not (tmp_path / "pool").exists()
