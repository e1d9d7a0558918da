"""Tests of the event ledger: completeness, detection of edits, recovery, and erasure of a
person."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from idiolect.errors import IntegrityError
from idiolect.privacy import ledger as ledger_module
from idiolect.privacy.consent import grant_consent, list_consents, repair_ledger, revoke_consent
from idiolect.privacy.ledger import Ledger
from idiolect.storage.files import write_json


def make_ledger(folder: Path) -> Ledger:
    ledger = Ledger(folder)
    ledger.record_event("trained", ["ann", "bob"], {"steps": 12})
    ledger.record_event("shared", ["ann"])
    ledger.record_event("trained", [])
    return ledger


def test_ledger_returns_events_in_order(tmp_path: Path) -> None:
    ledger = make_ledger(tmp_path)
    assert [e.event for e in ledger.read_entries()] == ["trained", "trained", "shared"]
    assert [e.event for e in ledger.read_entries_of("ann")] == ["trained", "shared"]
    assert ledger.read_entries_of("ann")[0].details == {"steps": 12}
    assert ledger.read_entries_of("unknown") == ()


def test_ledger_without_events_is_empty(tmp_path: Path) -> None:
    assert Ledger(tmp_path / "new").read_entries() == ()
    assert not Ledger(tmp_path / "new").forget_person("ann")


def test_forget_person_removes_name_and_pseudonym_link(tmp_path: Path) -> None:
    ledger = make_ledger(tmp_path)
    before = ledger.read_entries()
    assert b"ann" not in (tmp_path / "events.jsonl").read_bytes()
    assert ledger.forget_person("ann")
    assert not ledger.forget_person("ann")
    assert ledger.read_entries_of("ann") == ()
    assert ledger.read_entries() == before
    # No file contains the name any more.
    for path in tmp_path.iterdir():
        assert b"ann" not in path.read_bytes()
    ledger.record_event("trained", ["ann"])
    # A new event gets a new pseudonym, which cannot be linked to the old events.
    (again,) = ledger.read_entries_of("ann")
    assert again.who not in {entry.who for entry in before}


def test_read_entries_detects_edited_removed_and_moved_lines(tmp_path: Path) -> None:
    ledger = make_ledger(tmp_path)
    path = tmp_path / "events.jsonl"
    whole = path.read_bytes()
    one, two, three = whole.splitlines(keepends=True)
    # A removed line, a moved line, a changed value, and a line that is not JSON.
    edits = [one + three, two + one + three, whole.replace(b"12", b"13", 1), one + b"x\n" + three]
    for edited in edits:
        path.write_bytes(edited)
        with pytest.raises(IntegrityError, match=r"events\.jsonl:[12]"):
            ledger.read_entries()
    path.write_bytes(one + two[:-4] + b'x"}\n' + three)
    with pytest.raises(IntegrityError, match="last line was changed"):
        ledger.record_event("shared", ["bob"])
    path.write_bytes(whole)
    assert len(ledger.read_entries()) == 3


@pytest.mark.finding("cut-ledger")
def test_ledger_cut_anywhere_is_healed_or_refused(tmp_path: Path) -> None:
    """Cut at every byte: either all events are there, or reading and writing fail."""
    ledger = make_ledger(tmp_path)
    path = tmp_path / "events.jsonl"
    whole, events = path.read_bytes(), ledger.read_entries()
    latest = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        if cut >= latest:
            # The line of the latest call is in the other file, too.
            assert ledger.read_entries() == events
            continue
        for use in (ledger.read_entries, lambda: ledger.record_event("shared", ["ann"])):
            with pytest.raises(IntegrityError, match=r"events\.jsonl.* was cut off.*copy"):
                use()
        assert path.read_bytes() == whole[:cut]
    # The next event completes the file.
    path.write_bytes(whole[: latest + 5])
    ledger.record_event("withdrew", ["bob"])
    assert path.read_bytes().startswith(whole)
    assert ledger.read_entries()[:-1] == events


@pytest.mark.finding("cut-ledger")
@pytest.mark.parametrize("later", [0, 1, 3])
def test_revoked_consent_stays_revoked_after_any_cut(tmp_path: Path, later: int) -> None:
    ledger = Ledger(tmp_path)
    grant_consent(ledger, ["ann"], "pieces")
    revoke_consent(ledger, ["ann"], "pieces")
    for _ in range(later):
        ledger.record_event("trained", ["bob"])
    path = tmp_path / "events.jsonl"
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        try:
            consents = list_consents(ledger)
        except IntegrityError:
            continue
        assert not any(consent.valid for consent in consents)


@pytest.mark.finding("cut-ledger")
@pytest.mark.parametrize("change", ["older", "edited", "missing"])
def test_ledger_refuses_changed_end_but_forgets(tmp_path: Path, change: str) -> None:
    ledger = make_ledger(tmp_path)
    path = tmp_path / "end.json"
    older = path.read_bytes()
    ledger.record_event("revoked", ["ann"])
    newer = path.read_bytes()
    if change == "missing":
        path.unlink()
    else:
        path.write_bytes(older if change == "older" else newer.replace(b"revoked", b"granted"))
    with pytest.raises(IntegrityError, match=r"changed after|end\.json: is missing"):
        ledger.read_entries()
    with pytest.raises(IntegrityError, match=r"changed after|end\.json: is missing"):
        ledger.record_event("shared", ["ann"])
    # The link to a person can still be destroyed.
    assert ledger.forget_person("ann")
    path.write_bytes(newer)
    assert ledger.read_entries_of("ann") == () and len(ledger.read_entries()) == 4


@pytest.mark.finding("cut-ledger")
@pytest.mark.parametrize("kill_at", ["end.json", "events.jsonl"])
def test_killed_record_event_counts_once_its_end_is_written(
    tmp_path: Path, kill_at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before the end is written there is no event; after it there is, and nothing is lost
    or refused."""
    ledger = make_ledger(tmp_path)
    before = ledger.read_entries()

    def die(path: Path, content: object) -> None:
        if kill_at != "end.json":
            write_json(path, content)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger_module, "write_json", die)
        with pytest.raises(KeyboardInterrupt):
            ledger.record_event("revoked", ["ann"])
    events = [entry.event for entry in ledger.read_entries()[len(before) :]]
    assert events == ([] if kill_at == "end.json" else ["revoked"])
    ledger.record_event("trained", ["bob"])
    assert ledger.read_entries()[-1].event == "trained"


def test_record_event_order_does_not_depend_on_names(tmp_path: Path) -> None:
    """The order of people's pseudonyms is not that of their names, nor that of the call."""
    ledger = Ledger(tmp_path)
    people = [f"p{n:02d}" for n in range(40)]
    ledger.record_event("trained", people)
    order = [entry.who for entry in ledger.read_entries()]
    by_name = [ledger.read_entries_of(person)[0].who for person in people]
    assert order == sorted(order) != by_name


def test_record_event_from_two_processes_loses_nothing(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from idiolect.privacy.ledger import Ledger
        for turn in range(15):
            Ledger(Path(sys.argv[1])).record_event("trained", [sys.argv[2], "both"])
    """
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "ab"
    ]
    assert [child.wait() for child in children] == [0, 0]
    ledger = Ledger(tmp_path)
    assert [len(ledger.read_entries_of(who)) for who in ("a", "b", "both")] == [15, 15, 30]


def test_record_event_appends_many_events(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for turn in range(3):
        ledger.record_event("trained", [f"p{n}" for n in range(400)], {"turn": turn})
    assert len(ledger.read_entries()) == 1200


def test_record_event_does_not_truncate_foreign_file(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x" * 200_000)
    with pytest.raises(IntegrityError, match=r"end\.json: is missing"):
        Ledger(tmp_path).record_event("trained", ["ann"])
    assert path.stat().st_size == 200_000


@pytest.mark.finding("cut-ledger")
@pytest.mark.parametrize("damage", ["no end", "other end", "cut", "edited"])
def test_repair_ledger_keeps_readable_lines_and_revokes_all(tmp_path: Path, damage: str) -> None:
    ledger = make_ledger(tmp_path)
    grant_consent(ledger, ["ann", "bob"], "pieces")
    events, end = tmp_path / "events.jsonl", tmp_path / "end.json"
    whole = ledger.read_entries()
    if damage == "no end":
        end.unlink()
    elif damage == "other end":
        write_json(end, {"size": 3})
    elif damage == "cut":
        events.write_bytes(b"".join(events.read_bytes().splitlines(keepends=True)[:2]))
    else:
        events.write_bytes(events.read_bytes().replace(b"shared", b"shaped"))
    with pytest.raises(IntegrityError, match="--repair"):
        ledger.read_entries()
    # What can be read is found in order to delete it, and kept by the repair.
    assert "trained" in {e.event for e in ledger.read_readable_by_person()["ann"]}
    repair_ledger(ledger)
    after = ledger.read_entries()
    assert {e.who for e in after} == {e.who for e in whole}
    assert not any(consent.valid for consent in list_consents(ledger))
    if damage in ("no end", "other end"):
        assert after[: len(whole)] == whole
    # From here on the ledger is like any other; a second repair changes nothing.
    grant_consent(ledger, ["ann"], "mean")
    before = events.read_bytes()
    repair_ledger(ledger)
    assert events.read_bytes() == before
    assert [c.valid for c in list_consents(ledger) if c.scope == "mean"] == [True]


@pytest.mark.finding("cut-ledger")
def test_repair_ledger_that_is_killed_leaves_it_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = make_ledger(tmp_path)
    grant_consent(ledger, ["ann"], "pieces")
    (tmp_path / "end.json").unlink()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger_module, "write_json", die)
        with pytest.raises(KeyboardInterrupt):
            repair_ledger(ledger)
    with pytest.raises(IntegrityError, match="is missing"):
        ledger.read_entries()
    repair_ledger(ledger)
    assert not any(consent.valid for consent in list_consents(ledger))
