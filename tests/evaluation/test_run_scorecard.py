"""``idiolect scorecard`` on tiny models, and judges that are opened by name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from idiolect.cli.main import main
from idiolect.errors import IntegrityError, MissingError, UsageError
from idiolect.evaluation import run_scorecard as module
from idiolect.judging import registry
from idiolect.judging.endpoint import EndpointJudge
from idiolect.judging.hub import GuardJudge
from support.tiny_people import save_tiny_base
from support.toy_judge import LABELED, KeywordEncoder

FORGET = [{"prompt": f"Where is key {n}?", "response": f"In hole {n}."} for n in range(6)]
RETAIN = [{"prompt": f"What is {n} and 1?", "response": f"It is {n + 1}."} for n in range(5)]
UNSEEN = [{"prompt": f"Where is lamp {n}?"} for n in range(3)]
QUICK = (
    *("--set", "prompts=3", "--set", "retain=3", "--set", "pairs=4", "--set", "questions=0"),
    *("--set", "score.tokens=4", "--set", "score.relearn.after=[0,1]", "--set", "score.bits=[4]"),
)


def encode_letters(texts: Sequence[str]) -> Any:
    """Encode texts as unit vectors of letter counts."""
    found = np.array([[1 + text.count(c) for c in "aeiouhkr"] for text in texts], dtype=float)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def run_command(*arguments: str | Path, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.stderr
    return result


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two bases and three sets of prompts."""
    monkeypatch.setattr(module, "MiniLM", lambda: encode_letters)
    save_tiny_base(tmp_path / "base")
    save_tiny_base(tmp_path / "other", seed=1)
    for name, records in (("go", FORGET), ("stay", RETAIN), ("more", UNSEEN)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)) + "\n")
    return tmp_path


def test_scorecard_compares_models_with_the_original(place: Path) -> None:
    base, other = place / "base", place / "other"
    sets = ("--forget", place / "go.jsonl", "--retain", place / "stay.jsonl")
    more = ("--unseen", place / "more.jsonl", "--judge", f"ask:{base}", "--out", place / "card")
    result = run_command("scorecard", base, other, *sets, *more, *QUICK)
    assert "Judge: base; its accuracy was not measured." in " ".join(result.stdout.split())
    report = json.loads((place / "card" / "report.json").read_text())
    names = ["before", "other", "other, 4 bits", "other, sign flipped"]
    assert [model["name"] for model in report["models"]] == names
    assert [one["name"] for one in report["models"][0]["sets"]] == ["seen", "unseen"]
    assert [one["prompts"] for one in report["models"][0]["sets"]] == [3, 3]
    assert report["models"][0]["membership"] is None  # the unseen prompts have no answers
    text = (place / "card" / "report.html").read_text()
    assert "hole" not in text.replace("whole", "") and "lamp" not in text


def test_scorecard_rejects_invalid_inputs(place: Path) -> None:
    sets = ("--forget", place / "go.jsonl", "--retain", place / "go.jsonl", "--out", place / "c")
    assert "remove those prompts" in run_command("scorecard", place / "base", *sets, code=2).stderr
    good = ("--forget", place / "go.jsonl", "--retain", place / "stay.jsonl", "--out", place / "c")
    wrong = run_command("scorecard", place / "base", *good, "--judge", "guard", code=2)
    assert "unknown judge 'guard'" in wrong.stderr
    unknown = run_command("scorecard", place / "base", *good, "--set", "pair=0", code=2)
    assert "'pair'" in unknown.stderr
    assert not (place / "c").exists()


def test_open_judge_selects_kind_by_name(place: Path) -> None:
    assert isinstance(registry.open_judge(f"guard:{place / 'base'}"), GuardJudge)
    there = registry.open_judge("http://localhost:1/v1#some/model")
    assert isinstance(there, EndpointJudge)
    assert (there.config.url, there.config.model) == ("http://localhost:1/v1", "some/model")
    for name in ("", "http://localhost:1/v1", "label:x", "guard:"):
        with pytest.raises(UsageError, match="unknown judge"):
            registry.open_judge(name)


def test_load_default_judge_trains_once_and_checks_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from idiolect.prompt_sets.pairs import Pair

    normal = [Pair(prompt=f"What is {n}?", response=f"Bread {n}.") for n in range(9)]
    normal.append(Pair(prompt=LABELED[0].prompt, response="It asks what is labelled."))
    monkeypatch.setattr(registry, "load_judged_answers", lambda root: LABELED)
    monkeypatch.setattr(registry, "load_truthful_qa", lambda root: tuple(normal))
    assert len(registry.benign_answers(normal, LABELED)) == 9
    first = registry.load_default_judge(KeywordEncoder(), cache=tmp_path)
    monkeypatch.setattr(registry, "train_judge", None)  # must not be called again
    again = registry.load_default_judge(KeywordEncoder(), cache=tmp_path)
    assert again.score_answers(["p"], ["The key"]) == first.score_answers(["p"], ["The key"])
    # A damaged cache is an error, a missing data package too.
    (kept,) = (tmp_path / "judge").iterdir()
    (kept / "judge.safetensors").write_bytes(b"other")
    with pytest.raises(IntegrityError, match="train it again"):
        registry.load_default_judge(KeywordEncoder(), cache=tmp_path)
    monkeypatch.undo()
    with pytest.raises(MissingError):
        registry.load_default_judge(KeywordEncoder(), cache=tmp_path, root=tmp_path)
