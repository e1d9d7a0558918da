"""Each command passes its options to its API function and prints the result."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from idiolect import api
from idiolect.cli.main import main
from idiolect.errors import DataError
from idiolect.events import Message, Progress
from idiolect.history.dataset import read_dataset
from idiolect.importers.report import FileReport, ImportReport, SkippedRecords
from idiolect.training.runs.summary import PersonalSummary
from support.run_cli import run_cli

ApiFaker = Callable[[str, object], dict[str, Any]]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> ApiFaker:
    """Replaces an API function with one that returns a result and records its arguments."""

    def replace_function(name: str, result: object) -> dict[str, Any]:
        called: dict[str, Any] = {}
        signature = inspect.signature(getattr(api, name))

        def return_result(*arguments: Any, **named: Any) -> object:
            # Record the fields of the request as if they were arguments.
            bound = signature.bind(*arguments, **named)  # the real function must accept the call
            bound.apply_defaults()
            called.update(bound.arguments)
            request = called.pop("request", None)
            if request is not None:
                called.update({f.name: getattr(request, f.name) for f in fields(request)})
            if name not in ("import_data", "inspect_data"):
                print("library output")
            if "listener" in called:
                called["listener"](Message(text="a note"))
                called["listener"](Progress(stage="train", done=1, total=1))
            if isinstance(result, Exception):
                raise result
            return result

        monkeypatch.setattr(api, name, return_result)
        return called

    return replace_function


def pick(called: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: called[name] for name in names}


IMPORTED = ImportReport(
    files=(
        FileReport(
            file="a.jsonl",
            unit="chats",
            read=3,
            skipped=(SkippedRecords(reason="no user turn", count=2, first="line 4"),),
        ),
    ),
    notes=("one note",),
)


def test_import_prints_report(fake: ApiFaker) -> None:
    called = fake("import_data", IMPORTED)
    result = run_cli("import", "a.jsonl", "--person", "me", "--out", "data/me", "--overwrite")
    assert result.stdout.splitlines() == [*IMPORTED.format_lines(), "wrote the dataset to data/me"]
    assert pick(called, "source", "out", "person", "dry_run", "overwrite") == {
        "source": Path("a.jsonl"),
        "out": Path("data/me"),
        "person": "me",
        "dry_run": False,
        "overwrite": True,
    }


def test_import_dry_run_needs_no_out(fake: ApiFaker) -> None:
    called = fake("import_data", IMPORTED)
    result = run_cli("import", "--format", "movielens", "--dry-run")
    assert pick(called, "source", "out", "dry_run") == {
        "source": None,
        "out": None,
        "dry_run": True,
    }
    assert result.stdout.endswith("nothing was written (--dry-run)\n")
    wrong = CliRunner().invoke(main, ["import", "a.jsonl"])
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "--out" in wrong.stderr and "try: idiolect import --help" in wrong.stderr


CHAT = {
    "user": "me",
    "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
}
OTHER_SIDE = ("--person", "bot", "--person-role", "assistant")


@pytest.mark.finding("other-side")
@pytest.mark.parametrize(
    ("answers", "code", "kept"),
    [
        ("n\nshe signed a form\n", 0, "consent"),
        ("y\n", 0, "machine_text"),
        ("n\n\n", 2, None),
    ],
)
def test_import_asks_for_consent_of_the_other_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: str, code: int, kept: str | None
) -> None:
    (tmp_path / "chat.jsonl").write_text(json.dumps(CHAT))
    call = ("import", tmp_path / "chat.jsonl", *OTHER_SIDE, "--out", tmp_path / "data")
    # A script is refused without a question.
    refused = run_cli(*call, input=answers, code=2)
    assert "--consent-of-person" in refused.stderr and not (tmp_path / "data").exists()
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda self: True)
    run_cli(*call, input=answers, code=code)
    if kept is None:
        assert not (tmp_path / "data").exists()
    else:
        assert kept in read_dataset(tmp_path / "data").manifest["settings"]["other_side"]


@pytest.mark.finding("other-side")
def test_import_reads_consent_from_file(tmp_path: Path) -> None:
    (tmp_path / "chat.jsonl").write_text(json.dumps(CHAT))
    (tmp_path / "yes.txt").write_text("I agree. R.")
    call = ("import", tmp_path / "chat.jsonl", *OTHER_SIDE, "--out", tmp_path / "data")
    run_cli(*call, "--consent-of-person", tmp_path / "yes.txt")
    settings = read_dataset(tmp_path / "data").manifest["settings"]
    assert settings["other_side"]["consent"] == "I agree. R."


def test_import_prints_json(fake: ApiFaker) -> None:
    fake("import_data", IMPORTED)
    found = json.loads(run_cli("import", "a.jsonl", "--out", "d", "--json").stdout)
    assert found["files"][0]["skipped"] == [
        {"reason": "no user turn", "count": 2, "first": "line 4"}
    ]


DONE = PersonalSummary(
    trained=("ann", "bob"),
    unchanged=("cy",),
    gated_off=("bob",),
    too_few=tuple(f"p{n}" for n in range(12)),
    unusable_items=3,
    items=1234,
    tokens=56789,
    seconds=75.2,
)


def test_personalize_prints_summary(fake: ApiFaker) -> None:
    called = fake("personalize", DONE)
    result = run_cli("personalize", "data", "--store", "mine")
    assert [line.split(maxsplit=1)[0] for line in result.stdout.splitlines()] == [
        "trained",
        "unchanged",
        "base:",
        "base:",
        "items",
        "tokens",
        "time",
    ]
    assert "2 people" in result.stdout and "1 person: bob" in result.stdout
    assert "12 people: p0, p1, p2, p3, p4, p5, p6, p7 and 4 more" in result.stdout
    assert "1,234 trained on, 3 skipped" in result.stdout and "1 min 15 s" in result.stdout
    assert "a note" in result.stderr and "library output" in result.stderr
    assert pick(called, "data", "store", "base", "people", "mode", "wait", "config") == {
        "data": Path("data"),
        "store": Path("mine"),
        "base": "default",
        "people": (),
        "mode": "afresh",
        "wait": True,
        "config": api.PersonalConfig(),
    }


@pytest.mark.finding("older-dataset")
def test_personalize_fails_for_people_with_older_history(fake: ApiFaker) -> None:
    called = fake("personalize", replace(DONE, older=("dee", "eve")))
    result = run_cli("personalize", "data", "--store", "mine", code=1)
    assert "kept: DATA is older" in result.stdout and "2 people: dee, eve" in result.stderr
    assert "--allow-older" in result.stderr and pick(called, "allow_older") == {
        "allow_older": False
    }
    fake("personalize", DONE)
    run_cli("personalize", "data", "--store", "mine", "--allow-older")


@pytest.mark.finding("returning-person")
def test_personalize_fails_for_forgotten_people(fake: ApiFaker) -> None:
    fake("personalize", replace(DONE, forgotten=("dee",)))
    result = run_cli("personalize", "data", "--store", "mine", code=1)
    assert "1 person: dee" in result.stderr and "idiolect suppressed" in result.stderr


def test_personalize_passes_shard_and_ray_options(fake: ApiFaker) -> None:
    called = fake("personalize", DONE)
    names = ("shard", "ray", "shards", "workers")
    for options, expected in (
        ([], (None, None, None, None)),
        (["--shard", "3/8"], ("3/8", None, None, None)),
        (["--ray", "local", "--shards", "9", "--workers", "2"], (None, "local", 9, 2)),
    ):
        run_cli("personalize", "d", "--store", "s", *options)
        assert tuple(pick(called, *names).values()) == expected


def test_merge_prints_summary(fake: ApiFaker) -> None:
    done = api.MergeSummary(store=Path("s"), parts=8, new=41, people=1234, seconds=1.5)
    called = fake("merge", done)
    shown = [
        line.split(maxsplit=1) for line in run_cli("merge", "s", "--no-wait").stdout.splitlines()
    ]
    assert shown[:2] == [["merged", "8 parts"], ["new", "41 people"]]
    assert ["in", "the store  1,234 people"] in shown
    assert pick(called, "store", "wait") == {"store": Path("s"), "wait": False}
    assert json.loads(run_cli("merge", "s", "--json").stdout)["parts"] == 8


def test_personalize_combines_settings_of_file_and_options(fake: ApiFaker, tmp_path: Path) -> None:
    called = fake("personalize", DONE)
    (tmp_path / "run.toml").write_text("least_items = 9\n[train]\nrate = 0.5\nepochs = 7\n")
    (tmp_path / "ids").write_text("bob\n\n ann \n")
    options = ["--config", str(tmp_path / "run.toml"), "--rate", "1e-4", "--no-gate"]
    options += ["--rank", "4", "--set", "train.batch=8", "--retrieval", "bm25", "--k", "2"]
    options += ["--person", "cy", "--person", "bob", "--people-file", str(tmp_path / "ids")]
    run_cli("personalize", "d", "--store", "s", "--continue", "--no-wait", *options)
    # Options override --set, which overrides the file.
    config = called["config"]
    assert (config.train.rate, config.train.epochs, config.train.batch) == (1e-4, 7, 8)
    assert (config.least_items, config.lora.rank, config.gate.on) == (9, 4, False)
    assert (config.context.retrieval, config.context.k) == ("bm25", 2)
    assert pick(called, "people", "mode", "wait") == {
        "people": ("cy", "bob", "ann"),
        "mode": "continue",
        "wait": False,
    }


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--set", "train.rat=1"], 2, "unknown setting 'rat'"),
        (["--set", "train"], 2, "NAME=VALUE"),
        (["--rate", "0"], 2, "train.rate: must be above 0"),
        (["--retrieval", "bm24"], 2, "'bm24' is not one of none, bm25"),
        (["--config", "nothing.toml"], 1, "nothing.toml: cannot read the config"),
        (["--people-file", "none.txt"], 1, "none.txt: cannot read the list of people"),
    ],
)
def test_personalize_rejects_wrong_settings_before_work(
    fake: ApiFaker, options: list[str], code: int, message: str
) -> None:
    called = fake("personalize", DONE)
    result = CliRunner().invoke(main, ["personalize", "d", "--store", "s", *options])
    assert (result.exit_code, result.stdout, called) == (code, "", {})
    assert message in result.stderr


def test_personalize_failure_leaves_stdout_empty(fake: ApiFaker) -> None:
    fake("personalize", DataError("broken", file="people.parquet"))
    result = CliRunner().invoke(main, ["personalize", "d", "--store", "s", "--json"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == "error: people.parquet: broken"


def test_personalize_prints_json(fake: ApiFaker) -> None:
    fake("personalize", DONE)
    result = run_cli("personalize", "data", "--store", "mine", "--json")
    found = json.loads(result.stdout)
    assert found["trained"] == ["ann", "bob"] and found["tokens"] == 56789
    assert "library output" in result.stderr


def test_predict_prints_answer_and_likelihoods(fake: ApiFaker) -> None:
    probabilities = {"1": 0.25, "2": 0.75}
    answer = api.Prediction(
        person="me",
        task="rating",
        text="2\x1b[31m",
        served_by="adapter",
        probabilities=probabilities,
    )
    called = fake("predict", answer)
    lines = run_cli(
        "predict", "mine", "--person", "me", "--input", "Heat (1995)"
    ).stdout.splitlines()
    assert lines[0] == "2[31m"
    assert [line.split()[:2] for line in lines if "%" in line] == [["1", "25.0%"], ["2", "75.0%"]]
    assert pick(called, "store", "person", "text", "base", "data") == {
        "store": Path("mine"),
        "person": "me",
        "text": "Heat (1995)",
        "base": None,
        "data": None,
    }


def test_predict_says_that_base_answered(fake: ApiFaker) -> None:
    answer = api.Prediction(
        person="me", task="reply", text="hi", served_by="base", probabilities={}
    )
    called = fake("predict", answer)
    result = run_cli(
        "predict", "m", "--person", "me", "--input", "-", input="was läuft?\n".encode()
    )
    assert (result.stdout, called["text"]) == ("hi\n", "was läuft?")
    assert "the base model answered" in result.stderr
    result = run_cli("predict", "m", "--person", "me", "--input", "x", "--json")
    assert json.loads(result.stdout)["served_by"] == "base"


def test_predict_rejects_input_that_is_not_utf8(fake: ApiFaker) -> None:
    called = fake("predict", None)
    arguments = ["predict", "m", "--person", "me", "--input", "-"]
    result = CliRunner().invoke(main, arguments, input=b"\xff\xfe")
    assert (result.exit_code, result.stdout, called) == (1, "", {})
    assert result.stderr.startswith("error: stdin: is not UTF-8 text")


def test_personalize_with_profiles_turns_setting_on(fake: ApiFaker) -> None:
    called = fake("personalize", DONE)
    run_cli("personalize", "d", "--store", "s", "--profiles", "p")
    assert called["config"].context.profile is True and called["profiles"] == Path("p")


REPORT: dict[str, Any] = {"tasks": []}


def test_evaluate_samples_people_or_takes_names(fake: ApiFaker) -> None:
    called = fake("evaluate", REPORT)
    run_cli("evaluate", "d", "--out", "o")
    assert pick(called, "people", "methods") == {"people": (), "methods": ()}
    options = ["--method", "base", "--method", "oppu+rag", "--seed", "7", "--k", "2"]
    result = run_cli("evaluate", "d", "--out", "o", "--people", "60", *options)
    assert pick(called, "people", "methods") == {"people": 60, "methods": ("base", "oppu+rag")}
    assert (called["config"].personal.train.seed, called["config"].k) == (7, 2)
    assert result.stdout.splitlines()[-2:] == [
        f"Report: {Path('o/report.html')}",
        f"Data: {Path('o/report.json')}",
    ]
    wrong = CliRunner().invoke(main, ["evaluate", "d", "--out", "o", "--people", "6", "--person=a"])
    assert wrong.exit_code == 2 and "give only one of them" in wrong.stderr


def test_demo_writes_to_folder_demo_by_default(fake: ApiFaker) -> None:
    called = fake("demo", REPORT)
    run_cli("demo")
    assert pick(called, "out", "people", "seed") == {
        "out": Path("demo"),
        "people": None,
        "seed": 0,
    }
    result = run_cli("demo", "--people", "3", "--seed", "5", "--out", "x", "--json")
    assert json.loads(result.stdout) == REPORT
    assert pick(called, "out", "people", "seed") == {"out": Path("x"), "people": 3, "seed": 5}
