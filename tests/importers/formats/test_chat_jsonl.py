"""Tests of the import of OpenAI messages and ShareGPT conversations, valid and broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from idiolect.errors import DataError
from idiolect.history.dates import to_unix
from idiolect.importers.registry import import_histories
from idiolect.importers.report import ImportedHistories, ImportOptions


def import_chats(path: Path, **options: str) -> ImportedHistories:
    return import_histories(path, format="chat", options=ImportOptions(**options))


def write_lines(folder: Path, *records: Any) -> Path:
    path = folder / "chats.jsonl"
    texts = (r if isinstance(r, str) else json.dumps(r) for r in records)
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def make_message(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


MESSAGES = [
    make_message("system", "Be kind."),
    make_message("user", "Recipe?"),
    make_message("assistant", "Soup."),
    make_message(
        "user", [{"type": "text", "text": "too"}, {"type": "image_url", "image_url": {}}, "hot"]
    ),
    make_message("user", "!!"),
    make_message("assistant", None, tool_calls=[]),
    make_message("tool", "{}"),
    make_message("assistant", "Ice."),
    make_message("user", "yes"),
]


def test_chat_reads_openai_messages(tmp_path: Path) -> None:
    imported = import_histories(
        write_lines(tmp_path, {"user": "ann", "id": "c", "messages": MESSAGES})
    )
    assert (imported.importer, imported.task) == ("chat", "reply")
    (ann,) = imported.histories
    assert ann.person == "ann"
    assert [(i.id, dict(i.fields), i.time, i.voices) for i in ann.items] == [
        ("c:2", {"context": "me: Recipe?\nthem: Soup.", "reply": "too\nhot\n!!"}, None, ()),
        ("c:4", {"context": "them: Soup.\nme: too hot !!\nthem: Ice.", "reply": "yes"}, None, ()),
    ]
    assert {(s.reason, s.count) for s in imported.report.files[0].skipped} == {
        ("the first turn of a conversation answers no other", 1),
        ("a non-text part of a message", 1),
        ("an empty message", 1),
        ("a tool message", 1),
    }


def test_chat_reads_sharegpt_lines_and_array(tmp_path: Path) -> None:
    record = {
        "person": 12,
        "conversations": [
            {"from": "system", "value": "s"},
            {"from": "human", "value": "a"},
            {"from": "gpt", "value": "b"},
            {"from": "human", "value": "c"},
        ],
    }
    imported = import_histories(write_lines(tmp_path, record, {**record, "person": 13}))
    assert [h.person for h in imported.histories] == ["12", "13"]
    (item,) = imported.histories[0].items
    assert item.fields == {"context": "me: a\nthem: b", "reply": "c"}
    assert item.id == "1:2"
    # The same record as one JSON array.
    array = tmp_path / "share.json"
    array.write_text(json.dumps([record], indent=1), encoding="utf-8")
    assert import_histories(array).histories == imported.histories[:1]


def test_chat_takes_time_of_message_or_conversation(tmp_path: Path) -> None:
    messages = [
        make_message("assistant", "a"),
        make_message("user", "b", timestamp="2020-02-03T04:05:06Z"),
    ]
    path = write_lines(
        tmp_path,
        {"user": "u", "messages": messages, "created_at": 2021},
        {
            "user": "u",
            "messages": [make_message("assistant", "a"), make_message("user", "d")],
            "date": 2019,
        },
    )
    items = import_chats(path).histories[0].items
    assert [(i.fields["reply"], i.time) for i in items] == [
        ("d", to_unix(2019)),
        ("b", to_unix("2020-02-03T04:05:06Z")),
    ]


def test_chat_accepts_named_person_and_other_role(tmp_path: Path) -> None:
    messages = [
        make_message("user", "help"),
        make_message("assistant", "sure"),
        make_message("user", "ok", name="bob"),
    ]
    path = write_lines(tmp_path, {"user": "bob", "messages": messages})
    imported = import_chats(path, person="agent", person_role="assistant")
    (agent,) = imported.histories
    (item,) = agent.items
    assert agent.person == "agent"
    assert item.fields == {"context": "them: help", "reply": "sure"}
    assert item.voices == ("bob",)
    assert imported.settings == {"person_role": "assistant"}


def test_chat_stores_partner_names_as_voices(tmp_path: Path) -> None:
    messages = [make_message("assistant", "hey", name="Dr. No"), make_message("user", "ho")]
    (item,) = (
        import_chats(write_lines(tmp_path, {"user": "u", "messages": messages})).histories[0].items
    )
    assert item.voices == ("Dr. No",)


def test_chat_skips_duplicate_conversation(tmp_path: Path) -> None:
    record = {
        "user": "u",
        "id": "c",
        "messages": [make_message("assistant", "a"), make_message("user", "b")],
    }
    other = {
        "user": "u",
        "id": "c",
        "messages": [make_message("assistant", "x"), make_message("user", "y")],
    }
    imported = import_chats(write_lines(tmp_path, record, record, other))
    assert [i.id for i in imported.histories[0].items] == ["c:1", "c:1#2"]
    assert imported.report.files[0].skipped[0].reason == "a duplicate of an earlier record"


def test_chat_replaces_lone_surrogates(tmp_path: Path) -> None:
    record = '{"user": "u\\ud83d", "messages": [%s, %s]}'
    text = record % (
        json.dumps(make_message("assistant", "a")),
        '{"role": "user", "content": "b\\ud83d"}',
    )
    dataset = import_chats(write_lines(tmp_path, text)).write_to_folder(tmp_path / "data")
    assert dataset.read_history("u\ufffd").items[0].fields["reply"] == "b\ufffd"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{", ":2: not JSON"),
        ("[]", ":2: expected a JSON object, found list"),
        ({"messages": MESSAGES}, r":2: no person: none of the keys .*--person"),
        ({"user": " ", "messages": MESSAGES}, ":2: no person"),
        ({"user": [], "messages": MESSAGES}, "line 2, the person: expected text, found an array"),
        ({"user": "u"}, "line 2, conversations: expected an array, found nothing"),
        ({"user": "u", "messages": {}}, "line 2, messages: expected an array, found an object"),
        ({"user": "u", "messages": ["hi"]}, r"messages\[0\]: expected an object, found text"),
        ({"user": "u", "messages": [{"content": "x"}]}, r"messages\[0\], role: expected text"),
        ({"user": "u", "messages": [make_message("user", 7.5)]}, None),
        (
            {"user": "u", "messages": [make_message("user", {})]},
            "content: expected text, found an object",
        ),
        (
            {"user": "u", "messages": [make_message("user", [3])]},
            r"content\[0\]: expected an object",
        ),
        (
            {"user": "u", "messages": [make_message("user", "x", time="?")]},
            r"time: '\?' is not a date",
        ),
    ],
)
def test_chat_names_broken_line(tmp_path: Path, record: Any, message: str | None) -> None:
    good = {"user": "u", "messages": [make_message("assistant", "a"), make_message("user", "b")]}
    path = write_lines(tmp_path, good, record)
    if message is None:  # a number is accepted as text
        assert import_chats(path).report.files[0].read == 1
        return
    with pytest.raises(DataError, match=message) as caught:
        import_chats(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("options", [{}, {"person_role": "narrator"}])
def test_chat_without_turn_of_role_lists_roles(tmp_path: Path, options: dict[str, str]) -> None:
    path = write_lines(
        tmp_path,
        {"user": "u", "messages": [make_message("user", "a"), make_message("assistant", "b")]},
    )
    with pytest.raises(DataError, match=r"roles found: assistant, user .*--person-role"):
        import_chats(path, **options)
