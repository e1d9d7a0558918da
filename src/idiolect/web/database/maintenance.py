"""Keeps deleted data out of SQLite's files, and closes the database when the site ends.

SQLite keeps a copy of each change in a log (``-wal``) next to the database, and only overwrites a
deleted row where the row was last (``PRAGMA secure_delete``): pages that were rearranged earlier
may still hold an older copy in their unused bytes. So after a deletion the log is emptied, and the
file is rewritten (``VACUUM``): at once if it is small, else within the hour. PostgreSQL manages its
files itself; there, all functions but `close_connections` do nothing.
"""

from __future__ import annotations

import logging
import weakref
from pathlib import Path
from typing import Any

from django.db import DatabaseError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

MAX_BYTES_AT_ONCE = 32 << 20
"""Size up to which a deletion rewrites the file at once: no other change can be written meanwhile,
some 0.2 s for this size."""

_log = logging.getLogger(__name__)
_OPENED: weakref.WeakSet[Any] = weakref.WeakSet()
"""The connections of all threads, once `track_connections` has been called."""


def mark_deletion() -> None:
    """Note in the database that the file has to be rewritten; call it in the deletion's
    transaction."""
    # SQLite keeps this number in the file's header for its applications; Django does not use it.
    _run_pragma("user_version = 1")


def purge_deleted(*, max_bytes: int | None = MAX_BYTES_AT_ONCE) -> None:
    """Empty the log, and rewrite the file if something was deleted since it was rewritten last.

    Call it after the deletion's transaction. A file of more than ``max_bytes`` keeps its mark and
    is not rewritten; None means any size. Never raises: what fails is logged, and the hourly task
    tries again.
    """
    if connection.vendor != "sqlite":
        return
    try:
        size = Path(connection.settings_dict["NAME"]).stat().st_size
        if _run_pragma("user_version")[0] and (max_bytes is None or size <= max_bytes):
            # Remove the mark first: a deletion that commits meanwhile sets it again.
            _run_pragma("user_version = 0")
            try:
                with connection.cursor() as cursor:
                    cursor.execute("VACUUM")
            except DatabaseError:
                mark_deletion()
                raise
        busy, _, _ = _run_pragma("wal_checkpoint(TRUNCATE)")
        if busy:
            _log.warning("the database's log is in use; it is emptied within the hour")
    except (DatabaseError, OSError) as error:
        _log.warning("deleted data may stay in the database's files for an hour: %s", error)


def track_connections() -> None:
    """Remember every connection that a thread of this process opens, for `close_connections`."""
    connection_created.connect(_remember_connection, dispatch_uid=__name__)


def close_connections() -> None:
    """Empty the log and close the connections of all threads of this process.

    Call it when no thread uses its connection any more. SQLite removes its log when the last
    connection is closed; the database is then one file.
    """
    purge_deleted(max_bytes=None)
    for opened in list(_OPENED):
        opened.inc_thread_sharing()  # Django otherwise refuses to close a connection for a thread
        opened.close()
    connections.close_all()


def _remember_connection(sender: Any, connection: BaseDatabaseWrapper, **_: Any) -> None:
    _OPENED.add(connection)


def _run_pragma(pragma: str) -> tuple[Any, ...]:
    """Run a pragma on SQLite and return its row; do nothing on other databases."""
    if connection.vendor != "sqlite":
        return ()
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA {pragma}")
        return cursor.fetchone() or ()
