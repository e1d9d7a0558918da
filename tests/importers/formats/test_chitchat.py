"""Tests of the import of the chitchat package, valid and broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from idiolect.errors import DataError, MissingError
from idiolect.importers.registry import import_histories
from idiolect.storage.data_packages import get_data_package_version


def make_turn(sender: str, second: int, *texts: str) -> list[dict[str, str]]:
    return [
        {"sender": sender, "text": text, "timestamp": f"2018-05-02T19:00:{second + n:02}Z"}
        for n, text in enumerate(texts)
    ]


def write_chats(folder: Path, content: Any) -> Path:
    path = folder / "dataset.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_chitchat_turns_become_replies(tmp_path: Path) -> None:
    turns = [
        make_turn("ann", 0, "Hi", "How are you?"),
        make_turn("bob", 5, "fine ", "and you?"),
        make_turn("ann", 10, "", "Good"),
        make_turn("bob", 20, " "),
        make_turn("ann", 30, "Still here"),
        make_turn("bob", 40, "bye"),
    ]
    # One conversation with replies, and one without.
    chat = {"messages": turns, "start": "2018-05-03T01:00:00Z", "prompt": "p"}
    alone = {"messages": [make_turn("cy", 0, "anyone?")], "start": "2018-05-03T01:00:00Z"}
    imported = import_histories(write_chats(tmp_path, {"c1": chat, "c2": alone}))
    assert (imported.importer, imported.task) == ("chitchat", "reply")
    ann, bob, cy = imported.histories
    # Messages of a turn are joined; empty messages do not end a turn.
    assert [i.fields for i in bob.items] == [
        {"context": "them: Hi How are you?", "reply": "fine\nand you?"},
        {
            "context": "them: Hi How are you?\nme: fine and you?\nthem: Good Still here",
            "reply": "bye",
        },
    ]
    assert [i.id for i in bob.items] == ["c1:1", "c1:3"]
    assert [i.voices for i in bob.items] == [("ann",), ("ann",)]
    assert bob.items[0].time == 1525287605.0
    assert ann.items[0].fields["reply"] == "Good\nStill here"
    assert ann.items[0].time == 1525287611.0
    # A person without replies is kept without items.
    assert (cy.person, cy.items) == ("cy", ())
    assert imported.report.format_lines() == [
        "dataset.json: read 3 turns, skipped 4, because",
        "  2: an empty message (first: conversation c1, turn 2, message 0)",
        "  2: the first turn of a conversation answers no other "
        "(first: conversation c1, turn 0, message 0)",
    ]


def test_chitchat_context_has_at_most_three_turns_and_sixty_words(tmp_path: Path) -> None:
    long = " ".join(f"w{k}" for k in range(100))
    some = " ".join(f"v{k}" for k in range(50))
    turns = [
        make_turn(s, n, text)
        for n, (s, text) in enumerate(
            zip("abababab", ["1", "2", "3", "4", "5", long, some, "8"], strict=True)
        )
    ]
    imported = import_histories(write_chats(tmp_path, {"c": {"messages": turns}}))
    contexts = {i.id: i.fields["context"] for h in imported.histories for i in h.items}
    assert contexts["c:4"] == "them: 2\nme: 3\nthem: 4"
    assert contexts["c:6"] == "them: " + " ".join(long.split()[-60:])
    assert contexts["c:7"] == "them: " + some


def test_chitchat_notes_conversation_out_of_order(tmp_path: Path) -> None:
    turns = [make_turn("a", 30, "x"), make_turn("b", 10, "y")]
    imported = import_histories(write_chats(tmp_path, {"c": {"messages": turns}}))
    assert imported.report.notes == (
        "conversations with a message earlier than the previous one: 1",
    )


GOOD = make_turn("a", 0, "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "the file: expected an object, found an array"),
        ({}, "no conversation of two people"),
        ({"c": {"messages": [GOOD]}}, "no conversation of two people"),
        ({"c": 3}, "conversation c: expected an object, found 3"),
        ({"c": {}}, "conversation c, messages: expected an array, found nothing"),
        ({"c": {"messages": [{}]}}, "turn 0: expected an array, found an object"),
        ({"c": {"messages": [[7]]}}, "turn 0, message 0: expected an object, found 7"),
        ({"c": {"messages": [[GOOD[0] | {"timestamp": "now"}]]}}, "message 0: 'now' is not a date"),
        ({"c": {"messages": [[GOOD[0] | {"timestamp": None}]]}}, "message 0: None is not a date"),
        ({"c": {"messages": [[GOOD[0] | {"text": None}]]}}, "message 0, text: expected text"),
        ({"c": {"messages": [[GOOD[0] | {"sender": " "}]]}}, "the sender is empty"),
    ],
)
def test_chitchat_names_place_of_error(tmp_path: Path, content: Any, message: str) -> None:
    path = write_chats(tmp_path, content)
    with pytest.raises(DataError, match=message) as caught:
        import_histories(path, format="chitchat")
    assert str(caught.value).startswith(str(path))


def test_chitchat_names_line_of_broken_json(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    path.write_bytes(b'{\n"c": {\n')
    with pytest.raises(DataError, match=r"dataset\.json:3: not JSON"):
        import_histories(path, format="chitchat")
    # Invalid UTF-8 names its line, too.
    path.write_bytes(b'{\n\n"\xff": 3}')
    with pytest.raises(DataError, match=r"dataset\.json:3: not UTF-8"):
        import_histories(path, format="chitchat")
    path.write_bytes(b" \n")
    with pytest.raises(DataError, match=r"dataset\.json: the file is empty"):
        import_histories(path, format="chitchat")
    path.unlink()
    with pytest.raises(MissingError, match=r"no dataset\.json"):
        import_histories(tmp_path, format="chitchat")


@pytest.mark.skipif(not get_data_package_version("chitchat_dataset"), reason="not installed")
def test_chitchat_imports_real_package() -> None:
    imported = import_histories(format="chitchat")
    assert len(imported.histories) == 1_315
    assert imported.report.files[0].read == sum(len(h.items) for h in imported.histories) == 131_548
    assert [(s.reason, s.count) for s in imported.report.files[0].skipped] == [
        ("the first turn of a conversation answers no other", 7_168),
        ("an empty message", 33),
    ]
    quoting = 0
    for history in imported.histories:
        for item in history.items:
            assert item.time is not None
            assert item.fields["reply"].strip()
            assert history.person not in item.voices
            assert len(item.voices) == 1
            quoting += not item.fields["context"].rpartition("\n")[2].startswith("them: ")
    assert quoting == 1, "one reply quotes a line of its own writer"
