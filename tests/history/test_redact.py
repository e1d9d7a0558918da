"""Somebody's words leave a dataset: their rows, their lines inside others', and nothing else."""

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
from idiolect.privacy.patterns import SearchPatterns, split_into_patterns
from idiolect.tasks.registry import get_task

REPLY, TITLE = get_task("reply"), get_task("lamp-5")
LONG = "I saw a heron by the inlet at dawn, and nobody else was there"


def turn(
    person: str, n: int, context: str, reply: str, voices: tuple[str, ...] = ()
) -> Interaction:
    fields = {"context": context, "reply": reply}
    return Interaction(id=f"{person}{n}", position=n, time=float(n), fields=fields, voices=voices)


def paper(person: str, n: int, title: str, abstract: str) -> Interaction:
    fields = {"title": title, "abstract": abstract}
    return Interaction(id=f"{person}{n}", position=n, fields=fields)


def chats(folder: Path) -> Dataset:
    ann = [turn("ann", 0, "them: hi", f"ok\n{LONG}", ("bob",)), turn("ann", 1, "them: so", "ok")]
    bob = [
        turn("bob", 0, f"them: ok {LONG}\nme: what I said", "no, really?", ("ann",)),
        turn("bob", 1, "them: ok\nthem: never mind", "fine", ("cyd",)),
        turn("bob", 2, f"them: she wrote {LONG.upper()}!\nthem: yes", "fine", ("cyd",)),
    ]
    group = [turn("cyd", 0, "them: a\nthem: b\nme: c", "d", ("ann", "bob"))]
    histories = [
        History.from_interactions("ann", ann),
        History.from_interactions("bob", bob),
        History.from_interactions("cyd", group),
    ]
    return write_dataset(folder, histories, task="reply", source="x")


def contexts(found: Redaction) -> dict[str, list[str]]:
    return {h.person: [i.fields["context"] for i in h.items] for h in found.iter_histories()}


def test_a_whole_persons_lines_go_and_others_stay(tmp_path: Path) -> None:
    found = Redaction(chats(tmp_path / "d"), "ann", REPLY)
    assert contexts(found) == {
        "bob": [
            f"{REDACTED_TEXT}\nme: what I said",
            "them: ok\nthem: never mind",  # somebody else's ok
            f"{REDACTED_TEXT}\nthem: yes",
        ],
        "cyd": [f"{REDACTED_TEXT}\n{REDACTED_TEXT}\nme: c"],  # which of them said what is not known
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


def test_of_one_record_only_its_own_words_go(tmp_path: Path) -> None:
    found = Redaction(chats(tmp_path / "d"), "ann", REPLY, records=["ann0"])
    told = contexts(found)
    assert told["ann"] == ["them: so"] and told["cyd"] == ["them: a\nthem: b\nme: c"]
    assert told["bob"][0] == f"{REDACTED_TEXT}\nme: what I said"
    assert told["bob"][1:] == ["them: ok\nthem: never mind", f"{REDACTED_TEXT}\nthem: yes"]
    (bobs,) = [h for h in found.iter_histories() if h.person == "bob"]
    assert bobs.items[0].voices == ("ann",), "she is still there"


def test_words_of_records_that_are_gone_already_are_found_where_they_are_quoted(
    tmp_path: Path,
) -> None:
    whole = chats(tmp_path / "whole")
    of_one = Redaction(whole, "ann", REPLY, records=["ann0"])
    left = write_dataset(tmp_path / "d", of_one_row_less(whole), task="reply", source="x")
    found = Redaction(left, "ann", REPLY, records=["nobody's id"], texts=[f"ok\n{LONG}"])
    assert (
        found.removed_count == 0
        and found.is_needed
        and found.unique_patterns == of_one.unique_patterns
    )
    assert (
        contexts(found)["bob"] == contexts(of_one)["bob"]
        and found.affected_people == of_one.affected_people
    )


def of_one_row_less(dataset: Dataset) -> list[History]:
    """Without Ann's first row, and the rest as it was."""
    return [
        History(h.person, tuple(i for i in h.items if i.id != "ann0"), h.queries) for h in dataset
    ]


def papers(folder: Path) -> Dataset:
    joint = "We show that ducks glide where nobody has looked for them before."
    other = "An essay on lost towns that were never found again by anybody."
    ann = [paper("ann", 0, "On ducks", joint), paper("ann", 1, "On towns", other)]
    bob = [
        paper("bob", 0, "Mine", "Something else altogether that only Bob has ever written."),
        paper("bob", 1, "On Ducks.", joint.replace(".", " !")),
        paper("bob", 2, "More", "And a third thing."),
    ]
    histories = [History.from_interactions("ann", ann), History.from_interactions("bob", bob)]
    return write_dataset(folder, histories, task="lamp-5", source="x")


@pytest.mark.parametrize("records", [(), ("ann0",)])
def test_joint_records_go_from_others_unless_they_are_kept(
    tmp_path: Path, records: tuple[str, ...]
) -> None:
    dataset = papers(tmp_path / "d")
    found = Redaction(dataset, "ann", TITLE, records=records)
    (bob,) = [h for h in found.iter_histories() if h.person == "bob"]
    assert [(i.id, i.position) for i in bob.items] == [("bob0", 0), ("bob2", 1)]
    assert found.affected_people == {"bob"}
    assert found.unique_patterns.find_in_text("we show that ducks glide where nobody has looked")
    kept = Redaction(dataset, "ann", TITLE, records=records, keep_joint=True)
    assert kept.affected_people == frozenset() and kept.redact_history(
        dataset.read_history("bob")
    ) == dataset.read_history("bob")
    assert not kept.unique_patterns.find_in_text("we show that ducks glide where nobody has looked")


def test_what_everybody_has_is_nobodys(tmp_path: Path) -> None:
    """A film that others rated too tells nothing of who left, and stays theirs."""
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


def test_the_dataset_is_rewritten_without_a_trace(tmp_path: Path) -> None:
    dataset = chats(tmp_path / "d")
    people = [dataset.read_history(p) for p in dataset.people]
    told = {"person": "ann", "from": ["the chats of ann, banned"]}
    write_dataset(
        tmp_path / "d",
        people,
        task="reply",
        source="chats: ann.jsonl",
        splits={"bob": "test"},
        settings=told,
        overwrite=True,
    )
    leaving = ErasureRequest(person="ann", task="reply")
    holder = DatasetErasure(get_task)
    assert "2 records" in holder.find(tmp_path / "d", leaving)
    done = holder.erase(tmp_path / "d", leaving)
    assert [(e.what, e.outcome, e.person) for e in done] == [
        ("history", "removed", "ann"),
        ("history", "redacted", "bob"),
        ("history", "redacted", "cyd"),
    ]
    after = read_dataset(tmp_path / "d")
    assert after.people == ("bob", "cyd") and after.get_split("bob") == "test"
    assert after.manifest["source"] == f"chats: {REDACTED_TEXT}.jsonl"
    assert after.manifest["settings"]["from"] == [f"the chats of {REDACTED_TEXT}, banned"]
    assert (
        holder.find(tmp_path / "d", leaving) == "" and holder.erase(tmp_path / "d", leaving) == []
    )
    assert {text for _, text in holder.scan(tmp_path / "d" / "people.parquet") or ()} >= {"bob"}


def test_words_known_from_elsewhere_are_taken_out_where_the_person_is_not(tmp_path: Path) -> None:
    dataset = chats(tmp_path / "d")
    rest = [dataset.read_history(p) for p in ("bob", "cyd")]
    write_dataset(tmp_path / "copy", rest, task="reply", source="x")
    leaving = ErasureRequest(
        person="ann", task="reply", patterns=SearchPatterns(split_into_patterns([LONG]))
    )
    DatasetErasure(get_task).erase(tmp_path / "copy", leaving)
    assert LONG.casefold() not in repr([*read_dataset(tmp_path / "copy")]).casefold()


def test_of_somebody_who_is_not_there_nothing_is_found(tmp_path: Path) -> None:
    dataset = chats(tmp_path / "d")
    found = Redaction(dataset, "nobody", REPLY)
    assert not found.is_needed and list_effects(found, tmp_path)[0].count == 0
    before: Any = [*dataset]
    assert [*rewrite_dataset(found, tmp_path / "same")] == before
