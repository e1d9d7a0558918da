"""Writing, storing and selecting profiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idiolect.errors import IntegrityError, MismatchError, MissingError, UsageError
from idiolect.events import Event, Progress
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.profiles.profile import Profile, select_profile
from idiolect.profiles.protocol import MAX_SAMPLE_ITEMS
from idiolect.profiles.store import load_profiles, save_profiles
from idiolect.profiles.write import write_profiles
from idiolect.storage.manifest import Manifest
from idiolect.tasks.registry import get_task

TASK = get_task("lamp-5")


def make_history(person: str, count: int, *, word_prefix: str = "paper") -> History:
    items = [
        Interaction(
            id=f"i{n}", position=n, fields={"title": f"{word_prefix}-{n}", "abstract": "words"}
        )
        for n in range(count)
    ]
    return History.from_interactions(person, items)


class EchoWriter:
    """Answers with the titles in the prompt; records its batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []

    def __call__(self, prompts: Sequence[str], /) -> Sequence[str]:
        self.batches.append(list(prompts))
        return [
            "\n ".join(word for word in prompt.split() if "-" in word and len(word) > 1)
            for prompt in prompts
        ]


class ForbiddenWriter:
    def __call__(self, prompts: Sequence[str], /) -> Sequence[str]:
        raise AssertionError(f"called again: {prompts}")


def test_write_profiles_cuts_at_half_and_at_end() -> None:
    made = write_profiles(
        [make_history("p", 5), make_history("q", 1)], TASK, EchoWriter(), name="echo"
    )
    assert [(p.person, p.cut, p.text) for p in made["p"]] == [
        ("p", 2, "paper-0 paper-1"),
        ("p", 5, "paper-0 paper-1 paper-2 paper-3 paper-4"),
    ]
    assert [p.cut for p in made["q"]] == [1]
    assert {p.writer for p in made["p"]} == {"echo"}


def test_write_profiles_without_items_writes_none(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    assert write_profiles(
        [make_history("p", 0)], TASK, EchoWriter(), name="echo", folder=folder
    ) == {"p": ()}
    assert load_profiles(folder) == {}
    assert select_profile((), 3) == ""


@settings(max_examples=40)
@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_select_profile_never_shows_later_items(count: int, cut: int, visible: int) -> None:
    visible, cut = min(visible, count), min(cut, count)
    whole = make_history("p", count)
    changed = History(
        "p", whole.items[:cut] + make_history("p", count, word_prefix="other").items[cut:]
    )
    one, other = (
        write_profiles([h], TASK, EchoWriter(), name="echo", cuts=lambda n: range(n + 1))["p"]
        for h in (whole, changed)
    )
    assert one[:cut] == other[:cut]
    # The selected text shows all visible items and no later one.
    text = select_profile(one, visible)
    assert (f"paper-{visible - 1}" in text.split()) == (visible > 0)
    assert not any(f"paper-{later}" in text.split() for later in range(visible, count))


def test_select_profile_returns_latest_visible_one() -> None:
    made = write_profiles([make_history("p", 6)], TASK, EchoWriter(), name="echo")["p"]
    assert select_profile(made, 2) == ""
    assert select_profile(made, 5) == made[0].text != ""
    assert select_profile(reversed(made), 6) == made[1].text
    with pytest.raises(AssertionError):
        select_profile([*made, *write_profiles([make_history("q", 6)], TASK)["q"]], 6)


def test_write_profiles_prompts_with_last_items_shortened_and_question() -> None:
    long = Interaction(id="x", position=99, fields={"title": "last", "abstract": "w " * 100})
    echo = EchoWriter()
    person = History.from_interactions("p", [*make_history("p", 30).items, long])
    write_profiles([person], TASK, echo, name="echo", cuts=lambda n: (n,))
    ((prompt,),) = echo.batches
    lines, question = prompt.split("\n\n")
    assert question == TASK.profile_question
    assert len(lines.splitlines()) == MAX_SAMPLE_ITEMS
    assert lines.splitlines()[0] == "- paper-19 words"
    assert lines.splitlines()[-1] == "- last" + " w" * 29 + " ..."


def test_write_profiles_calls_writer_per_batch_and_reports_progress() -> None:
    echo, events = EchoWriter(), list[Event]()
    people = [make_history(f"p{n}", 4) for n in range(5)]
    write_profiles(people, TASK, echo, name="echo", batch=2, listener=events.append)
    assert [len(batch) for batch in echo.batches] == [4, 4, 2]
    done = [event.done for event in events if isinstance(event, Progress)]
    assert done == [0, 2, 4, 5]


def test_write_profiles_keeps_unchanged_profiles(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    people = [make_history("p", 4), make_history("q", 4)]
    made = write_profiles(people, TASK, EchoWriter(), name="echo", folder=folder)
    before = (folder / "profiles.jsonl").stat()
    again = write_profiles(people, TASK, ForbiddenWriter(), name="echo", folder=folder)
    assert again == made == load_profiles(folder, task="lamp-5")
    assert (folder / "profiles.jsonl").stat() == before


def test_write_profiles_rewrites_only_changed_people(tmp_path: Path) -> None:
    folder, echo = tmp_path / "profiles", EchoWriter()
    write_profiles(
        [make_history("p", 4), make_history("q", 4)], TASK, EchoWriter(), name="echo", folder=folder
    )
    grown = [make_history("p", 4), make_history("q", 5)]
    made = write_profiles(grown, TASK, echo, name="echo", folder=folder)
    # q's half is still the first two items, so only the whole is new.
    assert [len(batch) for batch in echo.batches] == [1]
    assert [p.cut for p in made["q"]] == [2, 5]
    assert load_profiles(folder) == made
    renamed = EchoWriter()
    write_profiles(grown[:1], TASK, renamed, name="other", folder=folder)
    assert [len(batch) for batch in renamed.batches] == [2]
    assert {p.writer for p in load_profiles(folder)["q"]} == {"echo"}


def test_write_profiles_resumes_after_kill(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    people = [make_history(f"p{n}", 4) for n in range(4)]

    class DyingWriter(EchoWriter):
        def __call__(self, prompts: Sequence[str], /) -> Sequence[str]:
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return super().__call__(prompts)

    with pytest.raises(KeyboardInterrupt):
        write_profiles(people, TASK, DyingWriter(), name="echo", folder=folder, batch=1)
    assert list(load_profiles(folder)) == ["p0", "p1"]
    echo = EchoWriter()
    made = write_profiles(people, TASK, echo, name="echo", folder=folder, batch=1)
    assert len(echo.batches) == 2
    assert made == write_profiles(people, TASK, EchoWriter(), name="echo")


def test_load_and_write_profiles_refuse_changed_files(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    write_profiles([make_history("p", 4)], TASK, EchoWriter(), name="echo", folder=folder)
    file = folder / "profiles.jsonl"
    file.write_text(file.read_text().replace("paper-1", "paper-7"))
    for act in (
        lambda: load_profiles(folder),
        lambda: write_profiles([make_history("p", 4)], TASK, folder=folder),
    ):
        with pytest.raises(IntegrityError, match=r"profiles\.jsonl.*was changed"):
            act()
    assert "paper-7" in file.read_text()


def test_load_profiles_refuses_invalid_line_with_its_number(tmp_path: Path) -> None:
    for line in ("[1]", "{}", "not json", '{"person": 3}'):
        folder = tmp_path / str(len(line))
        folder.mkdir()
        (folder / "profiles.jsonl").write_text(line + "\n")
        Manifest.from_folder(folder, kind="profiles", task="lamp-5").save(folder)
        with pytest.raises(IntegrityError, match=r"profiles\.jsonl:1: not a profile"):
            load_profiles(folder)


def test_write_and_save_profiles_refuse_other_tasks_and_folders(tmp_path: Path) -> None:
    folder = tmp_path / "profiles"
    write_profiles([make_history("p", 4)], TASK, folder=folder)
    with pytest.raises(MismatchError, match="made for task lamp-5, not for lamp-4"):
        write_profiles([], get_task("lamp-4"), folder=folder)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years")
    with pytest.raises(MissingError):
        write_profiles([make_history("p", 4)], TASK, folder=precious)
    with pytest.raises(UsageError, match="choose another folder"):
        save_profiles(precious, [], task="lamp-5")
    assert (precious / "thesis.txt").read_text() == "years"


def test_load_profiles_returns_odd_characters(tmp_path: Path) -> None:
    odd = Profile(
        person="p\n\u2028", cut=1, text="\ud83d \x00 é", writer="w", fingerprint="f", question="q"
    )
    save_profiles(tmp_path / "a", [odd], task="reply")
    assert load_profiles(tmp_path / "a") == {odd.person: (odd,)}
