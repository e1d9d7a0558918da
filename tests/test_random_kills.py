"""A process that is killed at any moment loses nothing and leaves nothing half-written."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import pytest

from idiolect import __version__
from idiolect.storage.files import hold_lock, read_json, write_json
from support.killed_site import GuestPlayer, compare_record, kill_site
from support.random_kills import COMMANDS, KilledCommand, KillTally, kill_command

pytestmark = pytest.mark.finding("sudden-death")

SHARES = {"import": 200, "personalize": 200, "assemble": 160, "withdraw": 130, "share": 100}
SHARES |= {"forget": 100, "site": 110}
"""Kills of each command in a run of 1,000: fewer of the slow ones."""


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARES)
def test_nothing_is_lost_or_half_written_in_many_random_kills(name: str, tmp_path: Path) -> None:
    """Kill a command many times.

    ``IDIOLECT_KILLS`` sets the number of kills of all commands (1,000), and
    ``IDIOLECT_KILLS_JSON`` a file to which the tally is added; `docs/kills.json` is one.
    """
    kills = round(SHARES[name] * int(os.environ.get("IDIOLECT_KILLS", "1000")) / 1000)
    tally = kill_one_kind(name, kills, str(tmp_path / name))
    if target := os.environ.get("IDIOLECT_KILLS_JSON"):
        with hold_lock(Path(target), wait=True, what="the tally"):
            known = read_json(Path(target)) if Path(target).is_file() else {}
            write_json(Path(target), {**known, name: {**asdict(tally), "version": __version__}})
    assert tally.faults == []
    assert tally.kills == kills


def kill_one_kind(name: str, kills: int, folder: str) -> KillTally:
    """Kill one command, or the site."""
    place = Path(folder)
    place.mkdir()
    if name == "site":
        return kill_site(kills, place)
    (command,) = (one for one in COMMANDS if one.name == name)
    return kill_command(command, kills, place)


def test_import_survives_random_kills(tmp_path: Path) -> None:
    tally = kill_one_kind("import", 3, str(tmp_path / "import"))
    assert tally.kills == 3 and tally.faults == []


def test_kill_command_notices_what_is_half_written(tmp_path: Path) -> None:
    def write_in_place(folder: Path) -> None:
        with (folder / "out.txt").open("a") as stream:
            for number in range(20):
                stream.write(f"{number}\n")
                stream.flush()
                time.sleep(0.01)

    command = KilledCommand(
        name="careless",
        prepare=Path.mkdir,
        run=write_in_place,
        read_result=lambda folder: (folder / "out.txt").read_text(),
    )
    tally = kill_command(command, 3, tmp_path)
    assert "the result differs from that of an undisturbed run" in tally.faults


def test_kill_command_notices_damaged_artifacts(tmp_path: Path) -> None:
    def write_torn_ledger(folder: Path) -> None:
        (folder / "ledger").mkdir(exist_ok=True)
        path = folder / "ledger" / "events.jsonl"
        path.write_text("{not a ledger\n" * 3)
        time.sleep(0.3)
        path.unlink()

    command = KilledCommand(
        name="torn", prepare=Path.mkdir, run=write_torn_ledger, read_result=lambda folder: None
    )
    tally = kill_command(command, 4, tmp_path)
    assert any("after a kill: ledger" in fault for fault in tally.faults), tally.faults


def test_kill_command_reports_a_command_that_fails_afterwards(tmp_path: Path) -> None:
    def fail_if_started(folder: Path) -> None:
        assert not (folder / "started").exists(), "cannot start a second time"
        (folder / "started").touch()
        time.sleep(0.3)

    command = KilledCommand(
        name="once", prepare=Path.mkdir, run=fail_if_started, read_result=lambda folder: None
    )
    tally = kill_command(command, 2, tmp_path)
    assert any("cannot start a second time" in fault for fault in tally.faults)


def test_compare_record_notices_lost_and_changed_rounds() -> None:
    def describe(*rounds: tuple[str, int], points: int) -> list[str]:
        player = GuestPlayer(0)
        player.shown_points = {"a": 3, "b": 5}
        record = {
            "rounds": [{"id": name, "score": score, "state": "finished"} for name, score in rounds],
            "totals": [{"rounds": len(rounds), "points": points}],
        }
        cast(Any, player).read_own_record = lambda: json.loads(json.dumps(record))
        return compare_record(player)

    assert describe(("a", 3), ("b", 5), ("unread", 1), points=9) == []
    assert describe(("a", 3), points=3) == ["lost: b"]
    assert describe(("a", 3), ("b", 4), points=7) == ["changed: b"]
    assert "totals" in describe(("a", 3), ("b", 5), points=9)[0]
