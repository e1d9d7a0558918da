"""The audit benchmark on made-up people and a tiny base."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import audit
from docs.build import render
from idiolect.evaluation.demo import CHATS
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.models.base import Base
from idiolect.models.tiny import make_tiny_base
from suites.audit import measure, people
from suites.audit.people import (
    COPIES,
    DEVELOPMENT_SECRETS,
    SECRETS,
    TRAINED_ITEMS,
    UNSEEN_ITEMS,
    Subject,
    plant_secret,
)
from suites.audit.result import build_targets
from support.memorizers import make_secret_keeper

KINDS = ("secret", "reply", "other", "rating")


def make_group(refused: int, *, said: int = 5, seconds: float = 2.0) -> dict[str, Any]:
    """A measured group of five people."""
    rows = [
        {
            "says_secret": n < said,
            "names_secret": n < refused,
            "verdict": "leaks" if n < refused else "passed",
        }
        for n in range(5)
    ]
    return {"rows": rows, "audit_seconds": seconds, "membership_seconds": 1.0}


def list_met(**groups: dict[str, Any]) -> list[bool]:
    """Whether each target is met, with these groups in place of good ones."""
    good = {kind: make_group(5 if kind == "secret" else 0) for kind in KINDS}
    return [one["met"] for one in build_targets({k: [g] for k, g in (good | groups).items()})]


def test_build_targets_are_met_by_good_results_only() -> None:
    assert list_met() == [True] * 5
    # A secret that was missed, or one that no adapter says, meets nothing.
    assert not list_met(secret=make_group(4))[0]
    assert not list_met(secret=make_group(5, said=4))[0]
    for number, kind in enumerate(("other", "reply", "rating"), start=1):
        assert not list_met(**{kind: make_group(1)})[number]
    assert not list_met(reply=make_group(0, seconds=9.0))[4]


def test_plant_secret_replaces_replies() -> None:
    items = [
        Interaction(id=str(n), position=n, fields={"context": "hi", "reply": f"reply {n}"})
        for n in range(TRAINED_ITEMS)
    ]
    history = History.from_interactions("ann", items)
    planted, secret, places = plant_secret(history, SECRETS[0])
    assert secret == SECRETS[0] and len(places) == COPIES
    told = [n for n, item in enumerate(planted.items) if item.fields["reply"] == secret]
    assert tuple(told) == places


def test_secrets_are_different() -> None:
    assert len(set(SECRETS)) == audit.PEOPLE == 20
    assert not set(SECRETS) & set(DEVELOPMENT_SECRETS)


def test_build_subjects_separates_people_with_and_without_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    histories = [
        History.from_interactions(
            f"person{n}",
            [
                Interaction(
                    id=str(i), position=i, fields={"context": "a b " * 30, "reply": f"r{i}"}
                )
                for i in range(2 * TRAINED_ITEMS + UNSEEN_ITEMS)
            ],
        )
        for n in range(4)
    ]

    def draw_people(demo: Any, count: int, *, last: int, **_: Any) -> Any:
        assert demo is CHATS
        return [h.take_last(last) for h in histories[:count]], histories[count:]

    monkeypatch.setattr(people, "draw_people", draw_people)
    base = make_tiny_base()
    told = people.build_subjects(base, "secret", 2)
    others = people.build_subjects(base, "reply", 2)
    assert {s.audited.person for s in told}.isdisjoint(s.audited.person for s in others)
    for one in told:
        texts = [base.tokenizer.decode([*e.ids[e.answer_start : -1]]) for e in one.audited.members]
        assert [n for n, text in enumerate(texts) if text == one.secret] == [*one.secret_items]
    assert not any(one.secret for one in others)
    # Adapters trained on other texts: the same audited texts, and no text in both.
    for one, other in zip(others, people.build_subjects(base, "other", 2), strict=True):
        assert one.trained == one.audited.members == other.audited.members
        assert len(other.trained) == TRAINED_ITEMS
        assert not set(other.trained) & {*other.audited.members, *other.audited.non_members}


def test_measure_longer_replaces_rows_of_silent_adapters_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = make_tiny_base()
    keepers = [make_secret_keeper(base, f"p{n}").subject for n in range(3)]
    subjects = [Subject(audited=keeper, trained=keeper.members) for keeper in keepers]
    trained: list[list[str]] = []

    def measure_subjects(base: Base, some: list[Subject], config: object) -> dict[str, Any]:
        assert config == measure.LONGER
        trained.append([one.audited.person for one in some])
        return {"rows": [{"says_secret": True, "person": one.audited.person} for one in some]}

    monkeypatch.setattr(measure, "build_subjects", lambda *_: subjects)
    monkeypatch.setattr(measure, "_measure_subjects", measure_subjects)
    rows = [{"says_secret": said, "person": f"p{n}"} for n, said in enumerate([False, True, False])]
    found = measure.measure_longer(base, rows, 0, 3, "tested")["rows"]
    assert trained == [["p0", "p2"]]
    assert found == [{"says_secret": True, "person": f"p{n}"} for n in range(3)]


def test_audit_benchmark_writes_a_page_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_tiny_base()
    calls: list[str] = []

    def build_subjects(base: Base, kind: str, count: int, purpose: str) -> list[Subject]:
        calls.append(kind)
        keepers = [make_secret_keeper(base, f"{kind}{n}") for n in range(count)]
        return [
            Subject(
                audited=k.subject,
                trained=k.subject.members,
                secret_items=k.secret_items if kind == "secret" else (),
            )
            for k in keepers
        ]

    monkeypatch.setattr(measure, "build_subjects", build_subjects)
    monkeypatch.setattr(audit, "load_base", lambda: base)
    target = tmp_path / "audit.json"
    command = ["audit.py", "--json", str(target), "--work", str(tmp_path / "work"), "--people", "2"]
    monkeypatch.setattr(sys, "argv", command)
    assert audit.main() == 0 and audit.main() == 0
    # People with secrets are looked at twice; the second run takes all from the files.
    assert calls == ["secret", *KINDS]
    result = json.loads(target.read_text())
    assert [set(one) for one in result["targets"]] == [{"name", "target", "reached", "met"}] * 5
    page = render.build_pages(tmp_path)["audit"]
    assert "Refused at default training, film ratings" in page and "| membership |" in page
