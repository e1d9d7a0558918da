"""Tests of the event ledger: completeness, detection of edits, recovery, and erasure of a
person."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from idiolect.errors import IntegrityError
from idiolect.privacy.ledger import Ledger


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
    path.write_bytes(one + b"{}\n")
    with pytest.raises(IntegrityError, match="the last line"):
        ledger.record_event("shared", ["bob"])
    path.write_bytes(whole)
    assert len(ledger.read_entries()) == 3


def test_record_event_recovers_from_partial_last_line(tmp_path: Path) -> None:
    ledger = make_ledger(tmp_path)
    path = tmp_path / "events.jsonl"
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    # Cut the file at every byte, as a killed process might leave it.
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends)
        assert len(ledger.read_entries()) == kept
        ledger.record_event("withdrew", ["bob"])
        assert [e.event for e in ledger.read_entries()][kept:] == ["withdrew"]


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
    with pytest.raises(IntegrityError, match="has no lines"):
        Ledger(tmp_path).record_event("trained", ["ann"])
    assert path.stat().st_size == 200_000
