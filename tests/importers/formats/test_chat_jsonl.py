"""Tests of the import of OpenAI messages and ShareGPT conversations, valid and broken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from idiolect.errors import ConsentError, DataError, UsageError
from idiolect.history.dates import to_unix
from idiolect.importers.registry import import_histories
from idiolect.importers.report import ImportedHistories, ImportOptions


def import_chats(path: Path, **options: Any) -> ImportedHistories:
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
    imported = import_chats(path, person="agent", person_role="assistant", machine_text=True)
    (agent,) = imported.histories
    (item,) = agent.items
    assert agent.person == "agent"
    assert item.fields == {"context": "them: help", "reply": "sure"}
    assert item.voices == ("bob",)
    machine = {"machine_text": True}
    assert imported.settings == {"person_role": "assistant", "other_side": machine}


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


def test_chat_without_turn_of_role_lists_roles(tmp_path: Path) -> None:
    messages = [make_message("user", "a"), make_message("assistant", "b")]
    path = write_lines(tmp_path, {"user": "u", "messages": messages})
    with pytest.raises(DataError, match=r"'narrator'; roles found: assistant, user "):
        import_chats(path, person_role="narrator")


@pytest.mark.finding("other-side")
def test_chat_says_that_person_only_opens(tmp_path: Path) -> None:
    """The message must not lead to training on the machine's words."""
    messages = [make_message("user", "How do I water a fern?"), make_message("assistant", "Daily.")]
    path = write_lines(tmp_path, {"messages": messages}, {"messages": messages[:1]})
    with pytest.raises(DataError, match=r"'me' .*only opens .*no reply to learn") as caught:
        import_chats(path, person="me")
    assert "--person-role" not in str(caught.value)


GROUP = [
    make_message("friend", "who has the key", name="Oskar"),
    make_message("friend", "me! under the third stone", name="Runa"),
    make_message("user", "then I take the bus"),
    make_message("friend", "call me", name="Runa"),
    make_message("user", "on it now"),
]


@pytest.mark.finding("second-voices")
def test_chat_tells_several_friends_apart(tmp_path: Path) -> None:
    path = write_lines(tmp_path, {"person": "tamsin", "id": "c", "messages": GROUP})
    (tamsin,) = import_chats(path).histories
    assert [(i.fields["context"], i.voices) for i in tamsin.items] == [
        (
            "them (Oskar): who has the key\nthem (Runa): me! under the third stone",
            ("Oskar", "Runa"),
        ),
        (
            "them (Runa): me! under the third stone\nme: then I take the bus\nthem (Runa): call me",
            ("Runa",),
        ),
    ]


NAMED = [
    make_message("assistant", "Where shall we eat?"),
    make_message("user", "Noodles", name="ann"),
    make_message("user", "Pizza or nothing!", name="ben"),
    make_message("assistant", "Booked."),
    make_message("user", "a salad, fine", name="ann"),
]


def collect_replies(imported: ImportedHistories) -> dict[str, list[str]]:
    return {h.person: [i.fields["reply"] for i in h.items] for h in imported.histories}


@pytest.mark.finding("second-voices")
def test_chat_takes_each_named_speaker_as_a_person(tmp_path: Path) -> None:
    path = write_lines(tmp_path, {"messages": NAMED})
    both = {"ann": ["Noodles", "a salad, fine"], "ben": ["Pizza or nothing!"]}
    assert collect_replies(import_chats(path)) == both
    assert collect_replies(import_chats(path, person="ann")) == {"ann": both["ann"]}
    with pytest.raises(DataError, match="has 2 speakers: ann, ben; 'me' is none of them"):
        import_chats(path, person="me")
    assert import_chats(path).histories[1].items[0].voices == ("ann",)


@pytest.mark.finding("second-voices")
@pytest.mark.parametrize(
    ("text", "reply", "line"),
    [
        ("> me! under the third stone\ngreat", "great", "quoted (Runa): me! under the third stone"),
        ("Runa wrote:\n> it rains\nno", "no", "quoted (Runa): it rains"),
        ("> Runa: it rains\nno", "no", "quoted (Runa): it rains"),
        ("see\nForwarded message from Runa:\nit rains", "see", "quoted (Runa): it rains"),
        ("> who said this\nme neither", "me neither", "quoted: who said this"),
    ],
)
def test_chat_keeps_quoted_words_as_context_only(
    tmp_path: Path, text: str, reply: str, line: str
) -> None:
    messages = [*GROUP[:2], make_message("user", text)]
    path = write_lines(tmp_path, {"person": "tamsin", "messages": messages})
    imported = import_chats(path)
    (item,) = imported.histories[0].items
    assert (item.fields["reply"], item.fields["context"].splitlines()[-1]) == (reply, line)
    assert item.voices == ("Oskar", "Runa")
    assert "context only: 1" in imported.report.notes[-1]


@pytest.mark.finding("second-voices")
def test_chat_does_not_learn_forwarded_messages(tmp_path: Path) -> None:
    forwarded = make_message("user", "I will be late", forwarded_from="Runa")
    mine = [make_message("friend", "and?", name="Oskar"), make_message("user", "look")]
    path = write_lines(tmp_path, {"person": "tamsin", "messages": [GROUP[0], forwarded, *mine]})
    (item,) = import_chats(path).histories[0].items
    assert item.fields == {
        "context": "them: who has the key\nquoted (Runa): I will be late\nthem: and?",
        "reply": "look",
    }
    assert item.voices == ("Oskar", "Runa")


def test_chat_keeps_emoticons_as_own_words(tmp_path: Path) -> None:
    messages = [make_message("assistant", "so?"), make_message("user", ">.<"), GROUP[4]]
    path = write_lines(tmp_path, {"person": "u", "messages": messages})
    assert import_chats(path).histories[0].items[0].fields["reply"] == ">.<\non it now"


@pytest.mark.finding("other-side")
@pytest.mark.parametrize("options", [{"person_role": "friend"}, {"person": "Runa"}])
def test_chat_learns_other_side_with_recorded_consent_only(
    tmp_path: Path, options: dict[str, str]
) -> None:
    path = write_lines(tmp_path, {"person": "tamsin", "messages": [GROUP[0], GROUP[2], *GROUP[:2]]})
    with pytest.raises(ConsentError, match=r"role 'friend' is the other side.*--consent-of-person"):
        import_chats(path, **options)
    with pytest.raises(UsageError, match="people's words, not a machine's"):
        import_chats(path, **options, machine_text=True)
    imported = import_chats(path, **options, consent_of_person="Runa said yes on the phone")
    other_side = imported.settings["other_side"]
    assert isinstance(other_side, dict)
    assert other_side["consent"] == "Runa said yes on the phone" and other_side["recorded"]
    data = imported.write_to_folder(tmp_path / "data")
    assert data.manifest["settings"]["other_side"] == other_side
