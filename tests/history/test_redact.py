"""Tests of removing one person's words from a dataset: rows, quotes, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from idiolect.history.dataset import Dataset, read_dataset
from idiolect.history.erasure import DatasetErasure, list_effects, rewrite_dataset
from idiolect.history.history import History
from idiolect.history.interaction import Interaction
from idiolect.history.redact import REDACTED_TEXT, Redaction
from idiolect.history.write import write_dataset
from idiolect.privacy.erasure import ErasureRequest
from idiolect.privacy.search.patterns import SearchPatterns, split_into_patterns
from idiolect.tasks.registry import get_task

REPLY, TITLE = get_task("reply"), get_task("lamp-5")
LONG = "I saw a heron by the inlet at dawn, and no other person was there"


def make_turn(
    person: str, n: int, context: str, reply: str, voices: tuple[str, ...] = ()
) -> Interaction:
    fields = {"context": context, "reply": reply}
    return Interaction(id=f"{person}{n}", position=n, time=float(n), fields=fields, voices=voices)


def make_paper(person: str, n: int, title: str, abstract: str) -> Interaction:
    fields = {"title": title, "abstract": abstract}
    return Interaction(id=f"{person}{n}", position=n, fields=fields)


def write_chats(folder: Path) -> Dataset:
    ann = [
        make_turn("ann", 0, "them: hi", f"ok\n{LONG}", ("bob",)),
        make_turn("ann", 1, "them: so", "ok"),
    ]
    bob = [
        make_turn("bob", 0, f"them: ok {LONG}\nme: what I said", "no, really?", ("ann",)),
        make_turn("bob", 1, "them: ok\nthem: never mind", "fine", ("cyd",)),
        make_turn("bob", 2, f"them: she wrote {LONG.upper()}!\nthem: yes", "fine", ("cyd",)),
    ]
    group = [make_turn("cyd", 0, "them: a\nthem: b\nme: c", "d", ("ann", "bob"))]
    histories = [
        History.from_interactions("ann", ann),
        History.from_interactions("bob", bob),
        History.from_interactions("cyd", group),
    ]
    return write_dataset(folder, histories, task="reply", source="x")


def collect_contexts(found: Redaction) -> dict[str, list[str]]:
    return {h.person: [i.fields["context"] for i in h.items] for h in found.iter_histories()}


def test_redaction_of_person_removes_their_lines_only(tmp_path: Path) -> None:
    found = Redaction(write_chats(tmp_path / "d"), "ann", REPLY)
    assert collect_contexts(found) == {
        "bob": [
            f"{REDACTED_TEXT}\nme: what I said",
            "them: ok\nthem: never mind",  # another person's "ok"
            f"{REDACTED_TEXT}\nthem: yes",
        ],
        "cyd": [
            f"{REDACTED_TEXT}\n{REDACTED_TEXT}\nme: c"
        ],  # it is unknown who of them said which line
    }
    assert found.affected_people == {"bob", "cyd"} and found.removed_count == 2
    assert [i.voices for h in found.iter_histories() for i in h.items] == [
        (),
        ("cyd",),
        ("cyd",),
        ("bob",),
    ]
    assert found.unique_patterns.find_in_text(LONG) and not found.unique_patterns.find_in_text(
        "never mind what I said at all"
    )


def test_redaction_of_record_removes_only_its_words(tmp_path: Path) -> None:
    found = Redaction(write_chats(tmp_path / "d"), "ann", REPLY, records=["ann0"])
    remaining = collect_contexts(found)
    assert remaining["ann"] == ["them: so"] and remaining["cyd"] == ["them: a\nthem: b\nme: c"]
    assert remaining["bob"][0] == f"{REDACTED_TEXT}\nme: what I said"
    assert remaining["bob"][1:] == ["them: ok\nthem: never mind", f"{REDACTED_TEXT}\nthem: yes"]
    (bobs,) = [h for h in found.iter_histories() if h.person == "bob"]
    assert bobs.items[0].voices == ("ann",), "Ann herself remains"


def test_redaction_finds_quotes_of_already_deleted_records(
    tmp_path: Path,
) -> None:
    whole = write_chats(tmp_path / "whole")
    # The expected result: the record is still in the dataset.
    of_one = Redaction(whole, "ann", REPLY, records=["ann0"])
    # Without the record's row, its words must be found from their text alone.
    left = write_dataset(tmp_path / "d", drop_first_row_of_ann(whole), task="reply", source="x")
    found = Redaction(left, "ann", REPLY, records=["unknown id"], texts=[f"ok\n{LONG}"])
    assert (
        found.removed_count == 0
        and found.is_needed
        and found.unique_patterns == of_one.unique_patterns
    )
    assert (
        collect_contexts(found)["bob"] == collect_contexts(of_one)["bob"]
        and found.affected_people == of_one.affected_people
    )


def drop_first_row_of_ann(dataset: Dataset) -> list[History]:
    """Return all histories, without Ann's first row."""
    return [
        History(h.person, tuple(i for i in h.items if i.id != "ann0"), h.queries) for h in dataset
    ]


def write_papers(folder: Path) -> Dataset:
    joint = "We show that ducks glide where no one has looked for them before."
    other = "An essay on lost towns that were never found again by any visitor."
    ann = [make_paper("ann", 0, "On ducks", joint), make_paper("ann", 1, "On towns", other)]
    bob = [
        make_paper("bob", 0, "Mine", "Something else altogether that only Bob has ever written."),
        make_paper("bob", 1, "On Ducks.", joint.replace(".", " !")),
        make_paper("bob", 2, "More", "And a third thing."),
    ]
    histories = [History.from_interactions("ann", ann), History.from_interactions("bob", bob)]
    return write_dataset(folder, histories, task="lamp-5", source="x")


@pytest.mark.parametrize("records", [(), ("ann0",)])
def test_redaction_removes_joint_records_unless_kept(
    tmp_path: Path, records: tuple[str, ...]
) -> None:
    dataset = write_papers(tmp_path / "d")
    found = Redaction(dataset, "ann", TITLE, records=records)
    (bob,) = [h for h in found.iter_histories() if h.person == "bob"]
    assert [(i.id, i.position) for i in bob.items] == [("bob0", 0), ("bob2", 1)]
    assert found.affected_people == {"bob"}
    assert found.unique_patterns.find_in_text("we show that ducks glide where no one has looked")
    kept = Redaction(dataset, "ann", TITLE, records=records, keep_joint=True)
    assert kept.affected_people == frozenset() and kept.redact_history(
        dataset.read_history("bob")
    ) == dataset.read_history("bob")
    assert not kept.unique_patterns.find_in_text("we show that ducks glide where no one has looked")


def test_redaction_ignores_texts_that_others_wrote_too(tmp_path: Path) -> None:
    """A film that others rated too does not identify the person, and stays with the others."""
    film = {"title": "The Long Way Home Again (1990)", "rating": "4"}
    rare = {"title": "Only She Ever Saw This One (1991)", "rating": "2"}
    shown = {"ann": [film, rare], "bob": [film]}
    histories = [
        History.from_interactions(
            p, [Interaction(id=f"{n}", position=n, fields=f) for n, f in enumerate(fields)]
        )
        for p, fields in shown.items()
    ]
    dataset = write_dataset(tmp_path / "d", histories, task="rating", source="x")
    found = Redaction(dataset, "ann", get_task("rating"))
    assert found.affected_people == frozenset()
    assert found.unique_patterns.find_in_text(
        rare["title"]
    ) and not found.unique_patterns.find_in_text(film["title"])


def test_dataset_erasure_rewrites_dataset_without_trace(tmp_path: Path) -> None:
    dataset = write_chats(tmp_path / "d")
    # Rewrite the dataset with the person's id in its source and settings.
    people = [dataset.read_history(p) for p in dataset.people]
    settings = {"person": "ann", "from": ["the chats of ann, banned"]}
    write_dataset(
        tmp_path / "d",
        people,
        task="reply",
        source="chats: ann.jsonl",
        splits={"bob": "test"},
        settings=settings,
        overwrite=True,
    )
    # Erase the person and check the effects.
    request = ErasureRequest(person="ann", task="reply")
    handler = DatasetErasure(get_task)
    assert "2 records" in handler.find(tmp_path / "d", request)
    done = handler.erase(tmp_path / "d", request)
    assert [(e.what, e.outcome, e.person) for e in done] == [
        ("history", "removed", "ann"),
        ("history", "redacted", "bob"),
        ("history", "redacted", "cyd"),
    ]
    # Nothing of the person remains, and a second run finds nothing.
    after = read_dataset(tmp_path / "d")
    assert after.people == ("bob", "cyd") and after.get_split("bob") == "test"
    assert after.manifest["source"] == f"chats: {REDACTED_TEXT}.jsonl"
    assert after.manifest["settings"]["from"] == [f"the chats of {REDACTED_TEXT}, banned"]
    assert (
        handler.find(tmp_path / "d", request) == "" and handler.erase(tmp_path / "d", request) == []
    )


def test_dataset_erasure_removes_known_patterns_without_the_person(tmp_path: Path) -> None:
    dataset = write_chats(tmp_path / "d")
    # A copy of the dataset without the person's own history.
    rest = [dataset.read_history(p) for p in ("bob", "cyd")]
    write_dataset(tmp_path / "copy", rest, task="reply", source="x")
    request = ErasureRequest(
        person="ann", task="reply", patterns=SearchPatterns(split_into_patterns([LONG]))
    )
    DatasetErasure(get_task).erase(tmp_path / "copy", request)
    assert LONG.casefold() not in repr([*read_dataset(tmp_path / "copy")]).casefold()


def test_redaction_of_unknown_person_changes_nothing(tmp_path: Path) -> None:
    dataset = write_chats(tmp_path / "d")
    found = Redaction(dataset, "unknown", REPLY)
    assert not found.is_needed and list_effects(found, tmp_path)[0].count == 0
    before: Any = [*dataset]
    assert [*rewrite_dataset(found, tmp_path / "same")] == before


HIDDEN = "me! under the third stone"


def write_group(folder: Path) -> Dataset:
    """Write a chat of Tamsin with Oskar and Runa, in which Runa is no person of the dataset."""
    voices = ("Oskar", "Runa")
    rows = [
        (f"them (Oskar): who has the key\nthem (Runa): {HIDDEN}", "the bus, then", voices),
        ("them (Oskar): no key\nquoted (Runa): it rains\nme: yes", f"> {HIDDEN}\nfound it", voices),
        ("them (Oskar): so", f"> {HIDDEN}", ("Oskar",)),
        ("them (Oskar): Forwarded message from Runa: late", "@Runa come", ("Oskar",)),
        (f"them (Oskar): hm\nme: > {HIDDEN} hm", "Runa wrote:\n> ok\nok", ("Oskar",)),
        ("them (Oskar): ok", "ok", ("Oskar",)),
    ]
    items = [make_turn("t", n, context, reply, v) for n, (context, reply, v) in enumerate(rows)]
    return write_dataset(
        folder, [History.from_interactions("tamsin", items)], task="reply", source="x"
    )


@pytest.mark.finding("second-voices")
def test_redaction_removes_voice_from_group_quotes_and_forwarded_text(tmp_path: Path) -> None:
    found = Redaction(write_group(tmp_path / "d"), "Runa", REPLY)
    (tamsin,) = found.iter_histories()
    assert found.affected_people == {"tamsin"}
    assert [(i.fields["context"], i.fields["reply"], i.voices) for i in tamsin.items] == [
        (f"them (Oskar): who has the key\n{REDACTED_TEXT}", "the bus, then", ("Oskar",)),
        (f"them (Oskar): no key\n{REDACTED_TEXT}\nme: yes", "found it", ("Oskar",)),
        # The reply that was nothing but her words is gone.
        (REDACTED_TEXT, f"@{REDACTED_TEXT} come", ("Oskar",)),
        (f"them (Oskar): hm\n{REDACTED_TEXT}", "ok", ("Oskar",)),
        ("them (Oskar): ok", "ok", ("Oskar",)),
    ]
    assert found.unique_patterns.find_in_text(f"so {HIDDEN}, she said")
    again = rewrite_dataset(found, tmp_path / "e")
    assert not Redaction(again, "Runa", REPLY).is_needed


@pytest.mark.finding("second-voices")
def test_redaction_leaves_other_voices_of_group(tmp_path: Path) -> None:
    found = Redaction(write_group(tmp_path / "d"), "Oskar", REPLY)
    (tamsin,) = found.iter_histories()
    assert tamsin.items[0].fields["context"] == f"{REDACTED_TEXT}\nthem (Runa): {HIDDEN}"
    assert [i.voices for i in tamsin.items] == [("Runa",), ("Runa",), (), (), (), ()]


@pytest.mark.finding("second-voices")
def test_redaction_of_record_removes_its_quotes_in_answers(tmp_path: Path) -> None:
    """A quoted copy in another person's answer does not make the words another person's."""
    ann = [make_turn("ann", 0, "them: hi", LONG, ("bob",)), make_turn("ann", 1, "them: so", "ok")]
    bob = [make_turn("bob", 0, "them: ok", f"> {LONG}\nreally?", ("ann",))]
    histories = [History.from_interactions("ann", ann), History.from_interactions("bob", bob)]
    dataset = write_dataset(tmp_path / "d", histories, task="reply", source="x")
    found = Redaction(dataset, "ann", REPLY, records=["ann0"])
    assert {h.person: [i.fields["reply"] for i in h.items] for h in found.iter_histories()} == {
        "ann": ["ok"],
        "bob": ["really?"],
    }
