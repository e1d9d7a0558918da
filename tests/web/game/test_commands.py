"""Tests of `idiolect nyms` on a site's database: reading, exporting and reporting plays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from django.db import connection
from django.test import Client

from idiolect.cli.main import main
from idiolect.errors import MissingError, UsageError
from idiolect.game.export.files import read_pairs
from idiolect.game.export.pairs import MIN_PLAYERS
from idiolect.game.rules.answers import stem
from idiolect.history.dataset import read_dataset
from idiolect.web.accounts.models import User
from idiolect.web.database.backup import back_up_database
from idiolect.web.game import commands, rounds
from idiolect.web.game.export_reader import open_site, read_plays
from idiolect.web.game.models import HiddenAnswer, PairSession, PairVote
from support.game_site import SEAFOOD, create_guests, open_round, play_round

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _set_database_url(monkeypatch: pytest.MonkeyPatch) -> None:
    # The commands accept a site without a database file only if this variable is set.
    monkeypatch.setenv("DATABASE_URL", "sqlite:///of-the-test")


def run_nyms(arguments: Sequence[str]) -> Result:
    result = CliRunner().invoke(main, ["nyms", *arguments])
    assert result.exit_code == 0, result.output
    return result


def save_vote(player: User, answer: str, yes: bool) -> None:
    sitting = PairSession.objects.create(player=player, pairs=[])
    PairVote.objects.create(
        sitting=sitting,
        player=player,
        position=0,
        relation="hyponyms",
        base="seafood",
        answer=answer,
        stem=stem(answer),
        likely=0.5,
        yes=yes,
        points=0,
    )


def test_read_plays_returns_only_finished_rounds(ann: User, ben: User) -> None:
    play_round(ann, ["Shrimp", "fish", "shrimps"])
    play_round(ben, ["crab"], untimed=True)
    # None of these three counts: no answer, still open, skipped.
    play_round(ann, [])
    open_round(ann)
    rounds.skip_round(ben, open_round(ben, "bird").pk)
    save_vote(ben, "crab", True)
    found = read_plays()
    assert [(r.player, [a.text for a in r.answers], r.untimed) for r in found.rounds] == [
        (str(ann.pk), ["shrimp", "fish"], False),
        (str(ben.pk), ["crab"], True),
    ]
    assert {(r.relation, r.base_word) for r in found.rounds} == {("hyponyms", "seafood")}
    assert [(v.player, v.answer, v.yes) for v in found.votes] == [(str(ben.pk), "crab", True)]
    # With a player, only that player's plays are read.
    own = read_plays(ben)
    assert len(own.rounds) == len(own.votes) == 1


def play_seafood(players: int = 6) -> list[User]:
    """Plays "seafood" as guests whose answers have the shares of the original game."""
    found = create_guests(players)
    for n, player in enumerate(found):
        play_round(player, [word for word, of in SEAFOOD.items() if n < of * players / 60])
    return found


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.parquet"])
def test_nyms_export_writes_pairs_and_histories_without_names(tmp_path: Path, name: str) -> None:
    players = play_seafood()
    save_vote(players[0], "crab", True)
    out, folder = tmp_path / name, tmp_path / "histories"
    said = run_nyms(["export", "--out", str(out), "--histories", str(folder), "--json"]).stdout
    assert json.loads(said) == {
        "pairs": str(out),
        "rows": 5,
        "histories": str(folder),
        "players": 6,
    }
    # The table has the answers of at least three players, with their counts and votes.
    rows = {row.answer: row for row in read_pairs(out)}
    assert {answer: row.players for answer, row in rows.items()} == {
        "fish": 6,
        "shrimp": 6,
        "lobster": 4,
        "crab": 4,
        "clams": 3,
    }
    assert {row.asked for row in rows.values()} == {6}
    assert rows["crab"].confirmed == 1 and rows["fish"].rejected == 0
    dataset = read_dataset(folder)
    assert dataset.task == "word-relation" and len(dataset) == 6
    # No file contains a player's name.
    raw = out.read_bytes() + b"".join(p.read_bytes() for p in folder.iterdir())
    for player in players:
        assert player.username.encode() not in raw
    first = next(iter(dataset)).items[0]
    assert first.fields["question"] == "What are kinds of seafood?"


@pytest.mark.finding("published-histories")
def test_nyms_export_never_publishes_rare_or_hidden_answers(tmp_path: Path) -> None:
    players = create_guests(3)
    play_round(players[0], ["grandmother's chowder", "shrimp", "call 555 0199"])
    for player in players[1:]:
        play_round(player, ["Shrimps", "call 555 0199", "aunt mae"])
    HiddenAnswer.objects.create(stem=stem("call 555 0199"))
    out, folder = tmp_path / "pairs.tsv", tmp_path / "histories"
    run_nyms(["export", "--out", str(out), "--histories", str(folder)])
    assert [row.answer for row in read_pairs(out)] == ["shrimps"]
    texts = [[item.fields["answer"] for item in history.items] for history in read_dataset(folder)]
    assert texts == [["shrimps"]] * 3
    raw = out.read_bytes() + b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())
    assert not any(word in raw for word in (b"chowder", b"555 0199", b"aunt"))
    # The notice's promise is not an option.
    few = CliRunner().invoke(main, ["nyms", "export", "--out", str(out), "--least-players", "2"])
    assert few.exit_code == 2 and "least-players" in few.stderr
    with pytest.raises(UsageError, match="promises"):
        commands.export_plays(None, pairs=out, least_players=1)


@pytest.mark.finding("published-histories")
def test_notice_says_what_is_published(site: Client) -> None:
    notice = site.get("/nyms/notice/").content.decode()
    assert "only answers that at least three players gave" in notice and MIN_PLAYERS == 3
    assert "may still recognize you" in notice and "90 days without a game" in notice


def test_nyms_report_measures_agreement_and_precision(tmp_path: Path) -> None:
    players = play_seafood()
    for player in players:
        play_round(player, ["robin", "owl"], "bird")
    for player in players[:3]:
        save_vote(player, "crab", True)
    out = tmp_path / "report.json"
    said = run_nyms(["report", "--out", str(out)]).stdout
    assert "6 players, 12 rounds, 3 votes" in said
    assert "Agreement between players" in said and "5–9 players" in said
    found: dict[str, Any] = json.loads(out.read_text())
    assert found["agreement"]["hyponyms"]["alpha"] > 0.5
    assert found["relations"]["hyponyms"] == {
        "players": 6,
        "rounds": 12,
        "base_words": 2,
        "answers": found["relations"]["hyponyms"]["answers"],
    }
    fives = next(p for p in found["precision"]["all"] if p["least"] == 5)
    assert (fives["pairs"], fives["in_wordnet"]) == (4, 2)  # WordNet lists robin and owl.
    # The report contains numbers only, no answers.
    assert "crab" not in out.read_text()
    assert json.loads(run_nyms(["report", "--json"]).stdout) == found


def test_nyms_report_of_empty_site_has_no_agreement() -> None:
    found = json.loads(run_nyms(["report", "--json"]).stdout)
    assert found["rounds"] == 0 and "alpha" not in found["agreement"]["answers"]
    assert "0 players" in run_nyms(["report"]).stdout


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL has its own tool")
@pytest.mark.finding("deleted-player-remains")
@pytest.mark.django_db(transaction=True)
def test_nyms_backup_writes_complete_database(tmp_path: Path, ann: User) -> None:
    out = tmp_path / "site.backup"
    assert run_nyms(["backup", str(out)]).stdout == f"wrote {out}\n"
    assert b"ann" in out.read_bytes()
    again = CliRunner().invoke(main, ["nyms", "backup", str(out)])
    assert again.exit_code != 0 and "--overwrite" in again.stderr


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL has its own tool")
@pytest.mark.finding("deleted-player-remains")
@pytest.mark.django_db(transaction=True)
def test_back_up_database_refuses_database_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "site.sqlite3"
    database.write_bytes(b"")
    monkeypatch.setitem(connection.settings_dict, "NAME", database)
    with pytest.raises(UsageError, match="is the site's database itself"):
        back_up_database(database, overwrite=True)
    assert database.read_bytes() == b""


def test_nyms_export_without_outputs_fails() -> None:
    result = CliRunner().invoke(main, ["nyms", "export"])
    assert result.exit_code == 2 and "--histories" in result.stderr


def test_open_site_without_site_raises_missing_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.setenv("IDIOLECT_HOME", "elsewhere")
    with pytest.raises(MissingError, match="no site has its data there"):
        open_site(tmp_path)
