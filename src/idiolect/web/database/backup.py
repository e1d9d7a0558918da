"""Backup of the site's SQLite database while the site runs.

A copy of the file alone lacks what is still in the log next to it; for a young site, that is
everything. SQLite's own backup includes the log.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from django.db import connection

from idiolect.errors import UsageError
from idiolect.storage.files import stage_file


def back_up_database(out: Path, *, overwrite: bool = False) -> None:
    """Write a copy of the database to the file ``out``, readable only by its owner.

    Raises UsageError if ``out`` exists and ``overwrite`` is not given, if it is the database
    itself or no SQLite database (so no other file of the site is replaced), or if the site's
    database is not SQLite.
    """
    if connection.vendor != "sqlite":
        raise UsageError(
            "the site's database is PostgreSQL; back it up with its own tool: "
            'pg_dump --format=custom --file FILE "$DATABASE_URL"'
        )
    if out.exists() and out.samefile(connection.settings_dict["NAME"]):
        raise UsageError(f"{out} is the site's database itself; choose another file")
    if out.exists() and not overwrite:
        raise UsageError(f"{out} exists; choose another file, or replace it with --overwrite")
    if out.exists() and not _is_sqlite(out):
        raise UsageError(f"{out} is not a backup, so it is not replaced; choose another file")
    with stage_file(out) as partial, contextlib.closing(sqlite3.connect(partial)) as target:
        connection.ensure_connection()
        connection.connection.backup(target)
        # The copy has no log of its own: it is complete as one file.
        target.execute("PRAGMA journal_mode=DELETE")


def _is_sqlite(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(16) in (b"SQLite format 3\0", b"")
