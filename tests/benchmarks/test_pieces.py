from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idiolect.errors import UsageError
from idiolect.history import History, Interaction
from idiolect.models import load_base
from pieces_bench import clock as clocks
from pieces_bench import people as who
from pieces_bench.clock import Clock, TimeIsUpError
from pieces_bench.place import Place
from pieces_bench.prepare import prepare
from pieces_bench.settings import QUICK
from tiny_people import rater, save_tiny

PEOPLE = 22


def chatter(person: str, count: int) -> History:
    """Somebody who answers a bot."""
    draw = random.Random(person)
    items = [
        Interaction(
            id=f"{person}-{n}",
            position=n,
            time=60.0 * n,
            fields={"context": f"line {draw.randint(1, 9)}", "reply": f"so {draw.randint(1, 9)}"},
        )
        for n in range(count)
    ]
    return History.of(person, items)


def letters(texts: Sequence[str]) -> Any:
    """An encoder: how often each of some letters is there, unit length."""
    found = np.array([[1 + text.count(c) for c in "aeiouDCW123"] for text in texts], dtype=float)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up people in place of real ones."""

    def everyone(setting: Any) -> list[History]:
        if setting.subject.task == "rating":
            return [rater(f"p{n:02}", 30 + n) for n in range(PEOPLE)]
        return [chatter(f"p{n:02}", 24 + n) for n in range(PEOPLE)]

    monkeypatch.setattr(who, "histories_of", everyone)
    monkeypatch.setattr(who, "unseen", lambda setting: {f"p{n:02}" for n in range(PEOPLE)})
    monkeypatch.setattr(who, "encoder", lambda: letters)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    save_tiny(folder / "tiny")
    return folder / "tiny"


def place_of(base: Path, folder: Path, task: str = "rating") -> Place:
    loaded = load_base(base, dtype="float32", device="cpu")
    return Place(name=task, base=loaded, folder=folder / task, sizes=QUICK)


@pytest.fixture
def place(world: None, base: Path, tmp_path: Path) -> Place:
    return place_of(base, tmp_path)


def test_nobody_takes_part_twice_and_a_second_run_draws_the_same(
    place: Place, base: Path, tmp_path: Path
) -> None:
    people = place.people
    assert len(people.newcomers) == QUICK.newcomers
    assert all(len(h.items) == QUICK.most for h in people.newcomers)
    assert all(len(h.queries) == people.setting.queries for h in people.newcomers)
    assert {len(some) for some in people.chosen.values()} == {QUICK.sharers}
    assert all(len(h.items) <= QUICK.history for h in people.sharers.values())
    new = {h.person for h in (*people.newcomers, *people.development)}
    assert not new & set(people.sharers)
    again = place_of(base, tmp_path).people
    assert again == people


def test_contributors_of_the_base_take_no_part(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(who, "contributors_of", lambda base: ("p21", "p20"))
    people = place.people
    drawn = [h.person for h in (*people.newcomers, *people.development)]
    assert not {"p21", "p20"} & {*drawn, *people.sharers}


def test_too_few_people_are_said(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(who, "contributors_of", lambda base: [f"p{n:02}" for n in range(18)])
    with pytest.raises(UsageError, match="6 newcomers"):
        _ = place.people


def test_preparing_stops_in_time_and_goes_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(clocks.time, "monotonic", lambda: now.__setitem__(0, now[0] + 1) or now[0])
    parts = 0
    while True:
        try:
            prepare(place, Clock(0.2))
            break
        except TimeIsUpError:
            parts += 1
            assert parts < 50
    assert parts > 1
    monkeypatch.undo()
    kept = json.loads((place.folder / "seconds.json").read_text(encoding="utf-8"))
    prepare(place, Clock(60))
    assert json.loads((place.folder / "seconds.json").read_text(encoding="utf-8")) == kept
    assert set(place.adapters("own-2-2", [h.person for h in place.people.newcomers])) == {
        h.person for h in place.people.newcomers
    }
