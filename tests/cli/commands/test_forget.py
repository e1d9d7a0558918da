"""Forgetting from the command line: receipt, failure where something is left, errors."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from idiolect.cli.main import main
from idiolect.history.dataset import read_dataset
from idiolect.history.write import write_dataset
from idiolect.models.tiny import make_tiny_base

PEOPLE = {"annabel": 9, "bartholomew": 8}


def run(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.stderr
    return result


def title(person: str, day: int) -> str:
    return f"The {random.Random(f'{person}{day}').randint(1, 10**9)}th Night of {person[:3]} {day}"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("forgetting") / "all"
    tiny = make_tiny_base()
    tiny.model.save_pretrained(place / "base")
    tiny.tokenizer.save_pretrained(place / "base")
    lines = [
        {
            "person": person,
            "id": f"{person[:3]}{day}",
            "fields": {"title": title(person, day), "rating": str(1 + day % 5)},
            "time": 86400 * day,
        }
        for person, rated in PEOPLE.items()
        for day in range(rated)
    ]
    source = place.parent / "ratings.jsonl"
    source.write_text("\n".join(map(json.dumps, lines)) + "\n")
    run("import", source, "--task", "rating", "--out", place / "data")
    trained = ["personalize", place / "data", "--store", place / "store", "--base", place / "base"]
    run(*trained, "--no-gate", "--dtype", "float32", "--device", "cpu")
    return place


@pytest.fixture
def place(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "all"))


def forget(place: Path, *arguments: str | Path, code: int = 0) -> Result:
    return run("forget", place / "data", place / "store", *arguments, code=code)


def inspected(place: Path) -> Any:
    return json.loads(run("inspect", place / "data", "--json").stdout)


def test_a_person_is_forgotten_and_the_receipt_says_where(place: Path) -> None:
    would = forget(place, "--person", "annabel", "--dry-run").stdout
    assert "nothing was changed" in would and "would be forgotten" in would
    assert inspected(place)["people"] == 2
    shown = forget(place, "--person", "annabel", "--verify").stdout
    assert "history removed" in shown and "adapter removed" in shown
    assert "pseudonym destroyed" in shown and "nothing is left, byte by byte" in shown
    assert inspected(place)["people"] == 1
    said = forget(place, "--person", "annabel", code=1).stderr
    assert said.startswith("error: nothing of 'annabel' found in ") and "already forgotten" in said
    again = json.loads(forget(place, "--person", "annabel", "--verify", "--json").stdout)
    assert again["effects"] == [] and again["left"] == [] and again["verified"]


def test_records_by_id_and_by_file(place: Path) -> None:
    (place.parent / "ids.txt").write_text("ann3\n\nann5\n")
    (place.parent / "ids.jsonl").write_text('{"id": "ann7", "why": "wrong"}\n')
    files = ["--records", place.parent / "ids.txt", "--records", place.parent / "ids.jsonl"]
    done = json.loads(
        forget(place, "--person", "annabel", "--records", "ann1", *files, "--json").stdout
    )
    assert done["records"] == ["ann1", "ann3", "ann5", "ann7"]
    outcomes = {(e["what"], e["outcome"]): e["count"] for e in done["effects"]}
    assert outcomes == {("records", "removed"): 4, ("adapter", "rebuilt"): 1}
    assert inspected(place)["items"] == sum(PEOPLE.values()) - 4
    again = ["personalize", place / "data", "--store", place / "store", "--base", place / "base"]
    told = run(*again, "--no-gate", "--dtype", "float32", "--device", "cpu").stdout
    assert "trained           0 people" in told or "0 people" in told.splitlines()[0]


def asked(day: int) -> dict[str, str]:
    return {"prompt": f"Rate the film 1-5:\n{title('annabel', day)}", "response": str(1 + day % 5)}


def test_what_is_gone_from_the_data_is_negated(place: Path) -> None:
    data, file = read_dataset(place / "data"), place / "gone.jsonl"
    file.write_text("".join(json.dumps(asked(day)) + "\n" for day in (2, 5)))
    quick = ["--gone", file, "--person", "annabel", "--bound", "1.5", "--set", "train.steps=8"]
    quick += ["--set", "train.rate=0.02"]
    said = forget(place, *quick, code=2).stderr
    assert "2 of its pairs are still in" in said and "--records ann2" in said
    left = [
        replace(h, items=tuple(i for i in h.items if i.id not in ("ann2", "ann5"))) for h in data
    ]
    write_dataset(place / "data", left, task="rating", source="x", overwrite=True)
    would = forget(place, *quick, "--dry-run").stdout
    assert "would be forgotten" in would and "2 pairs by negation of annabel" in would
    done = json.loads(forget(place, *quick, "--verify", "--json").stdout)
    made = done["negated"]
    assert done["gone"] == made["pairs"] == 2 and made["retained"] == 7
    assert made["after"]["forget_perplexity"] > made["before"]["forget_perplexity"]
    assert made["after"]["retain_perplexity"] <= 1.5 * made["before"]["retain_perplexity"]
    assert done["left"] == [] and done["kept"] == [str(file)]
    (place / "notes.md").write_text(f"She liked {title('annabel', 2)} best.")
    again = forget(place, *quick, "--verify", code=1)
    assert "notes.md" in again.stderr and "yours to delete" in again.stdout
    said = forget(place, *quick, code=1).stderr
    assert "were already removed from the adapter of 'annabel'" in said


def test_it_fails_where_somebody_elses_file_still_holds_words(place: Path) -> None:
    (place / "notes.md").write_text(f"She liked {title('annabel', 2)} best.")
    done = forget(place, "--person", "annabel", "--verify", code=1)
    assert "1 place left" in done.stdout
    assert "notes.md (words that only they wrote)" in done.stderr and "delete" in done.stderr
    assert inspected(place)["people"] == 1, "all else is done"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "Missing option '--person'"),
        (("--person", "zoe"), 1, "nothing of 'zoe'"),
        (("--person", "annabel", "--records", "ann99"), 1, "--person annabel --gone"),
        (("--person", "annabel", "--gone", "none.jsonl"), 1, "none.jsonl"),
        (("--person", "annabel", "--gone", "f", "--records", "ann1"), 2, "--records or --gone"),
        (("--person", "annabel", "--bound", "1.1"), 2, "say how --gone is done"),
        (("--gone", "f.jsonl"), 2, "Missing option '--person'"),
        (("--person", "annabel", "--in", "nowhere"), 1, "no such folder to search"),
    ],
)
def test_a_wrong_call_is_explained(
    template: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    assert said in forget(template, *arguments, code=code).stderr
    assert inspected(template)["people"] == 2


def test_a_broken_list_of_records_is_named(place: Path) -> None:
    (place / "ids.jsonl").write_text('{"no": 1}\n')
    said = forget(place, "--person", "annabel", "--records", place / "ids.jsonl", code=1).stderr
    assert "ids.jsonl: cannot read the list of records" in said
