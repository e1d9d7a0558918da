"""``idiolect forget``: receipts, remains, and errors."""

from __future__ import annotations

import json
import os
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
from support.run_cli import run_cli

PEOPLE = {"annabel": 9, "bartholomew": 8}


def make_title(person: str, day: int) -> str:
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
            "fields": {"title": make_title(person, day), "rating": str(1 + day % 5)},
            "time": 86400 * day,
        }
        for person, count in PEOPLE.items()
        for day in range(count)
    ]
    source = place.parent / "ratings.jsonl"
    source.write_text("\n".join(map(json.dumps, lines)) + "\n")
    run_cli("import", source, "--task", "rating", "--out", place / "data")
    trained = ["personalize", place / "data", "--store", place / "store", "--base", place / "base"]
    run_cli(*trained, "--no-gate", "--dtype", "float32", "--device", "cpu")
    return place


@pytest.fixture
def place(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "all"))


def forget(place: Path, *arguments: str | Path, code: int = 0) -> Result:
    return run_cli("forget", place / "data", place / "store", *arguments, code=code)


def inspect_data(place: Path) -> Any:
    return json.loads(run_cli("inspect", place / "data", "--json").stdout)


def test_forget_deletes_person_and_prints_receipt(place: Path) -> None:
    preview = forget(place, "--person", "annabel", "--dry-run").stdout
    assert "nothing was changed" in preview and "would be deleted" in preview
    assert inspect_data(place)["people"] == 2
    shown = forget(place, "--person", "annabel", "--verify").stdout
    assert "history removed" in shown and "adapter removed" in shown
    assert "pseudonym destroyed" in shown and "nothing is left in any file" in shown
    assert inspect_data(place)["people"] == 1
    message = forget(place, "--person", "annabel", code=1).stderr
    assert message.startswith("error: nothing of 'annabel' found in ")
    assert "already forgotten" in message


@pytest.mark.finding("verify-again")
def test_forget_verify_again_fails_if_words_are_no_longer_known(place: Path) -> None:
    (place / "notes.md").write_text(f"She liked {make_title('annabel', 2)} best.")
    forget(place, "--person", "annabel", "--verify", code=1)
    again = forget(place, "--person", "annabel", "--verify", "--json", code=1)
    done = json.loads(again.stdout)
    assert done["effects"] == [] and done["left"] == [] and done["verified"]
    assert "the words are no longer in any dataset" in done["unsearched"][0]["why"]
    assert "--receipt FILE" in again.stderr


@pytest.mark.finding("verify-again")
@pytest.mark.parametrize("records", [(), ("ann2", "ann5")])
def test_forget_verify_again_searches_for_words_of_its_receipt(
    place: Path, records: tuple[str, ...]
) -> None:
    (place / "notes.md").write_text(f"She liked {make_title('annabel', 2)} best.")
    chosen = [part for record in records for part in ("--records", record)]
    file = place / "receipt.json"
    command = ("--person", "annabel", *chosen, "--verify", "--receipt", file)
    forget(place, *command, code=1)
    assert "Night of" not in file.read_text()
    # The file that still holds the words is found again, now by hashes alone.
    again = forget(place, *command, code=1)
    assert "notes.md (words that only they wrote)" in again.stderr
    (place / "notes.md").unlink()
    assert "nothing is left in any file" in forget(place, *command).stdout
    (place / "copy.txt").write_text(make_title("annabel", 5).upper())
    assert "copy.txt" in forget(place, *command, code=1).stderr
    message = forget(place, "--person", "bartholomew", "--receipt", file, code=2).stderr
    assert "a receipt about another person" in message
    assert "bartholomew" in read_dataset(place / "data").people
    # An edited receipt is refused.
    file.write_text(file.read_text().replace("annabel", "annabe1"))
    assert "was changed after it was written" in forget(place, *command, code=1).stderr


@pytest.mark.finding("verification")
def test_forget_fails_without_verify_if_artifacts_were_not_searched(place: Path) -> None:
    shutil.copytree(place / "store", place / "other")
    for name in ("store", "other"):
        (place / name / "ledger" / "end.json").unlink()
    command = ("--person", "annabel", "--no-rebuild")
    assert "end.json: is missing" in forget(place, *command, "--dry-run").stdout
    result = forget(place, *command, code=1)
    assert "annabel" not in read_dataset(place / "data").people
    # Each ledger is named, and what to do is said once.
    for name in ("store", "other"):
        assert f"{name}/ledger/end.json: is missing" in result.stderr
    assert result.stderr.count("restore the ledger's folder") == 1


@pytest.mark.finding("verification")
def test_forget_prints_receipt_before_the_search(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("idiolect.erasure.forget.scan_tree", interrupt)
    file = place.parent / "receipt.json"
    for options in ((), ("--json",)):
        copy = Path(shutil.copytree(place, place.parent / f"copy{len(options)}"))
        arguments = ["forget", copy / "data", copy / "store", "--person", "annabel", "--verify"]
        result = CliRunner().invoke(main, [*map(str, arguments), "--receipt", str(file), *options])
        assert result.exit_code != 0
        if options:
            shown = json.loads(result.stdout)
            assert shown["done"] and not shown["verified"]
        else:
            assert "adapter removed" in result.stdout and "verified" not in result.stdout
        assert '"verified": false' in file.read_text()
        file.unlink()


@pytest.mark.finding("verification")
def test_forget_verify_lists_what_it_did_not_look_into(place: Path) -> None:
    (place / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    (place / "odd.parquet").write_bytes(b"PAR1 and no more")
    (place / os.fsdecode(b"odd-\xff.pdf")).write_bytes(b"%PDF-1.7")
    shown = forget(place, "--person", "annabel", "--verify", code=1)
    assert "Not looked into" in shown.stdout and "3 places not looked into" in shown.stdout
    assert "a PDF: searched as bytes only" in shown.stderr
    assert "history removed" in shown.stdout and inspect_data(place)["people"] == 1


@pytest.mark.finding("verification")
def test_forget_verify_says_which_texts_are_too_short(place: Path) -> None:
    # The ratings are texts of one character, which occur everywhere.
    assert "5 texts too short" in forget(place, "--person", "annabel", "--verify").stdout


def test_forget_takes_records_by_id_and_file(place: Path) -> None:
    (place.parent / "ids.txt").write_text("ann3\n\nann5\n")
    (place.parent / "ids.jsonl").write_text('{"id": "ann7", "why": "wrong"}\n')
    files = ["--records", place.parent / "ids.txt", "--records", place.parent / "ids.jsonl"]
    done = json.loads(
        forget(place, "--person", "annabel", "--records", "ann1", *files, "--json").stdout
    )
    assert done["records"] == ["ann1", "ann3", "ann5", "ann7"]
    outcomes = {(e["what"], e["outcome"]): e["count"] for e in done["effects"]}
    assert outcomes == {
        ("suppression list", "added"): 1,
        ("records", "removed"): 4,
        ("adapter", "rebuilt"): 1,
    }
    assert inspect_data(place)["items"] == sum(PEOPLE.values()) - 4
    again = ["personalize", place / "data", "--store", place / "store", "--base", place / "base"]
    shown = run_cli(*again, "--no-gate", "--dtype", "float32", "--device", "cpu").stdout
    assert "trained           0 people" in shown or "0 people" in shown.splitlines()[0]


def make_pair(day: int) -> dict[str, str]:
    return {
        "prompt": f"Rate the film 1-5:\n{make_title('annabel', day)}",
        "response": str(1 + day % 5),
    }


def test_forget_gone_negates_adapter(place: Path) -> None:
    data, file = read_dataset(place / "data"), place / "gone.jsonl"
    file.write_text("".join(json.dumps(make_pair(day)) + "\n" for day in (2, 5)))
    quick = ["--gone", file, "--person", "annabel", "--bound", "1.5", "--set", "train.steps=8"]
    quick += ["--set", "train.rate=0.02"]
    message = forget(place, *quick, code=2).stderr
    assert "2 of its pairs are still in" in message and "--records ann2" in message
    # Remove the records from the dataset; only negation can forget them now.
    left = [
        replace(h, items=tuple(i for i in h.items if i.id not in ("ann2", "ann5"))) for h in data
    ]
    write_dataset(place / "data", left, task="rating", source="x", overwrite=True)
    preview = forget(place, *quick, "--dry-run").stdout
    assert "would be deleted" in preview and "2 pairs by negation of annabel" in preview
    done = json.loads(forget(place, *quick, "--verify", "--json").stdout)
    negated = done["negated"]
    assert done["gone"] == negated["pairs"] == 2 and negated["retained"] == 7
    assert negated["after"]["forget_perplexity"] > negated["before"]["forget_perplexity"]
    assert negated["after"]["retain_perplexity"] <= 1.5 * negated["before"]["retain_perplexity"]
    assert done["left"] == [] and done["kept"] == [str(file)]
    # A file that Idiolect did not write still contains a title.
    (place / "notes.md").write_text(f"She liked {make_title('annabel', 2)} best.")
    again = forget(place, *quick, "--verify", code=1)
    assert "notes.md" in again.stderr and "yours to delete" in again.stdout
    message = forget(place, *quick, code=1).stderr
    assert "were already removed from the adapter of 'annabel'" in message


def test_forget_verify_fails_if_foreign_file_holds_words(place: Path) -> None:
    (place / "notes.md").write_text(f"She liked {make_title('annabel', 2)} best.")
    done = forget(place, "--person", "annabel", "--verify", code=1)
    assert "1 place left" in done.stdout
    assert "notes.md (words that only they wrote)" in done.stderr and "delete" in done.stderr
    assert inspect_data(place)["people"] == 1, "everything else is done"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Missing option '--person'"),
        (("--person", "zoe"), 1, "nothing of 'zoe'"),
        (("--person", "annabel", "--records", "ann99"), 1, "--person annabel --gone"),
        (("--person", "annabel", "--gone", "none.jsonl"), 1, "none.jsonl"),
        (("--person", "annabel", "--gone", "f", "--records", "ann1"), 2, "--records or --gone"),
        (("--person", "annabel", "--bound", "1.1"), 2, "require --gone FILE"),
        (("--gone", "f.jsonl"), 2, "Missing option '--person'"),
        (("--person", "annabel", "--in", "nowhere"), 1, "no such folder to search"),
    ],
)
def test_forget_explains_wrong_usage(
    template: Path, arguments: tuple[str, ...], code: int, message: str
) -> None:
    assert message in forget(template, *arguments, code=code).stderr
    assert inspect_data(template)["people"] == 2


def test_forget_names_broken_list_of_records(place: Path) -> None:
    (place / "ids.jsonl").write_text('{"no": 1}\n')
    message = forget(place, "--person", "annabel", "--records", place / "ids.jsonl", code=1).stderr
    assert "ids.jsonl: cannot read the list of records" in message


@pytest.mark.finding("repeated-person")
def test_forget_deletes_several_people_with_a_receipt_each(place: Path) -> None:
    both = ("--person", "annabel", "--person", "bartholomew")
    # A mistyped id is noticed before anything is changed.
    message = forget(place, *both, "--person", "anabel", code=1).stderr
    assert "nothing of 'anabel' found" in message and inspect_data(place)["people"] == 2
    for option in (("--records", "ann1"), ("--receipt", place / "r.json")):
        assert "--person is given 2 times" in forget(place, *both, *option, code=2).stderr
    # One of them is already gone, as after an interruption.
    forget(place, "--person", "annabel")
    done = forget(place, *both, "--json")
    assert [receipt["person"] for receipt in json.loads(done.stdout)] == ["bartholomew"]
    assert "nothing to delete: annabel" in done.stderr
    assert inspect_data(place)["people"] == 0


@pytest.mark.finding("repeated-person")
def test_forget_several_people_verifies_each(place: Path) -> None:
    shown = forget(place, "--person", "annabel", "--person", "bartholomew", "--verify").stdout
    assert shown.count("history removed") == 2
    assert shown.count("nothing is left in any file") == 2


@pytest.mark.finding("returning-person")
def test_suppressed_shows_and_removes_people(place: Path) -> None:
    forget(place, "--person", "annabel")
    shown = run_cli("suppressed", place / "suppressed.json", "--person", "annabel").stdout
    assert "on the list      annabel" in shown and "people           1" in shown
    wrong = run_cli("suppressed", place / "suppressed.json", "--remove", code=2).stderr
    assert "no person given" in wrong
    gone = run_cli("suppressed", place / "suppressed.json", "--person", "annabel", "--remove")
    assert "removed          annabel" in gone.stdout
    assert "no such suppression list" in run_cli("suppressed", place / "x", code=1).stderr
