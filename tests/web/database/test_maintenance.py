"""What stays of deleted people in the database's files, and backups of the database."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from random import Random

import pytest
from django.db import connection

from idiolect.errors import UsageError
from idiolect.web.accounts import personal_data
from idiolect.web.accounts.models import User
from idiolect.web.database import maintenance
from idiolect.web.database.backup import back_up_database
from idiolect.web.game.models import Answer, Round, Word
from idiolect.web.jobs import worker
from support.game_site import play_round

needs_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite's files")


def read_database_files() -> bytes:
    """Return the bytes of the database and of all files that SQLite keeps next to it."""
    file = Path(connection.settings_dict["NAME"])
    return b"".join(path.read_bytes() for path in sorted(file.parent.glob(f"{file.name}*")))


def play_private_rounds(player: User, rounds: int = 12) -> None:
    """Play rounds with answers that contain ``zqx`` and the player's number."""
    for at in range(rounds):
        play_round(player, [f"zqx {player.pk} {at}", f"zqx {player.pk} more {at}"])


def fill_tables(people: list[User], rows: int) -> None:
    """Store answers of all people in random order, so that SQLite rearranges its pages."""
    draw = Random(1)
    word = Word.objects.create(relation="hyponyms", base="seafood")
    played = [
        Round(player=person, word=word, difficulty=0.5, state="finished") for person in people
    ]
    Round.objects.bulk_create(played)
    Answer.objects.bulk_create(
        [
            Answer(
                round=(round_ := draw.choice(played)),
                word=word,
                player=round_.player,
                position=at,
                text=f"{draw.randrange(10**6)} of zqx{round_.player.pk}e",
                stem=f"{draw.random()} of zqx{round_.player.pk}e",
                agreement=0,
                bonus=0,
                why="",
            )
            for at in range(rows)
        ]
    )


@needs_sqlite
@pytest.mark.finding("deleted-player-remains")
@pytest.mark.django_db(transaction=True)
def test_erase_person_leaves_no_words_in_database_files() -> None:
    people = [User.objects.create_user(f"quixotic{at:02}") for at in range(60)]
    fill_tables(people, 6000)
    for at, person in enumerate(people[::4]):
        words = f"zqx{person.pk}e".encode(), person.username.encode()
        assert all(word in read_database_files() for word in words)
        personal_data.erase_person(person)
        assert not any(word in read_database_files() for word in words), at
    assert Round.objects.count() == 45


@needs_sqlite
@pytest.mark.finding("deleted-player-remains")
@pytest.mark.django_db(transaction=True)
def test_clean_up_rewrites_large_database_after_deletion(monkeypatch: pytest.MonkeyPatch) -> None:
    # The file is too large to be rewritten during a request, so the hourly task does it.
    monkeypatch.setattr(maintenance.purge_deleted, "__kwdefaults__", {"max_bytes": 0})
    rewritten: list[str] = []
    connection.ensure_connection()
    connection.connection.set_trace_callback(rewritten.append)
    try:
        play_private_rounds(person := User.objects.create_user("quixotic"))
        personal_data.erase_person(person)
        assert "VACUUM" not in rewritten
        worker.clean_up()
        assert "VACUUM" in rewritten
        rewritten.clear()
        worker.clean_up()
        assert "VACUUM" not in rewritten
    finally:
        connection.connection.set_trace_callback(None)
    assert b"zqx" not in read_database_files()


@needs_sqlite
@pytest.mark.django_db(transaction=True)
def test_purge_deleted_while_log_is_read_waits_for_next_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    play_private_rounds(person := User.objects.create_user("quixotic"), 1)
    with sqlite3.connect(connection.settings_dict["NAME"]) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM game_answer").fetchone()
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 1")
        personal_data.erase_person(person)  # the deletion itself succeeds
        assert "within the hour" in caplog.text or "for an hour" in caplog.text
    reader.close()
    connection.close()
    worker.clean_up()
    assert b"zqx" not in read_database_files()


@needs_sqlite
@pytest.mark.finding("deleted-player-remains")
@pytest.mark.django_db(transaction=True)
def test_back_up_database_includes_what_is_in_the_log(tmp_path: Path, ann: User) -> None:
    maintenance.purge_deleted()
    play_round(ann, ["wheelbarrow"])
    out = tmp_path / "backup.sqlite3"
    back_up_database(out)
    assert [path.name for path in tmp_path.iterdir()] == ["backup.sqlite3"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    with sqlite3.connect(out) as copy:
        assert copy.execute("SELECT text FROM game_answer").fetchall() == [("wheelbarrow",)]
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    copy.close()
    with pytest.raises(UsageError, match="--overwrite"):
        back_up_database(out)
    back_up_database(out, overwrite=True)
    key = tmp_path / "secret.key"
    key.write_text("a secret")
    for place in (key, tmp_path):
        with pytest.raises(UsageError, match="not a backup"):
            back_up_database(place, overwrite=True)
    assert key.read_text() == "a secret"


@pytest.mark.skipif(connection.vendor == "sqlite", reason="about PostgreSQL")
@pytest.mark.django_db
def test_back_up_database_on_postgresql_names_its_own_tool(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pg_dump"):
        back_up_database(tmp_path / "backup")
