"""Parser of ``DATABASE_URL`` into Django settings: an SQLite file or PostgreSQL.

Opens no connection.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from idiolect.errors import UsageError

_SQLITE_TIMEOUT = 20
"""Seconds that a writer waits for the lock; a view of the game holds it for milliseconds."""

_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL;"  # readers do not block the writer
    # Safe if the process is killed; a power cut may lose the last commits but never the file.
    "PRAGMA synchronous=NORMAL;"
    "PRAGMA cache_size=-16000;"
    # Overwrite deleted rows with zeros; see `web/database/maintenance.py` for the rest.
    "PRAGMA secure_delete=ON;"
)


def parse_database_url(url: str, folder: Path) -> dict[str, Any]:
    """Return Django's settings for the database at ``url``.

    Args:
        url: ``sqlite:///FILE`` (four slashes for an absolute path) or
            ``postgresql://NAME:PASSWORD@HOST:PORT/DATABASE?sslmode=...``; if empty, the SQLite
            file ``site.sqlite3`` in ``folder``.
        folder: the site's data folder.

    Raises:
        UsageError: if ``url`` has another form. The message never contains the password.
    """
    if not url:
        return _build_sqlite_settings(folder / "site.sqlite3")
    try:
        parts = urlsplit(url)
        port = parts.port  # raises ValueError if it is not a number
    except ValueError as error:
        raise UsageError(f"DATABASE_URL cannot be read: {error}") from None
    # The path without its first slash is the database: a file for SQLite, a name for PostgreSQL.
    name = unquote(parts.path.removeprefix("/"))
    if parts.scheme in ("sqlite", "sqlite3") and name and not parts.netloc:
        return _build_sqlite_settings(Path(name).expanduser().absolute())
    if parts.scheme in ("postgres", "postgresql") and name:
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or ""),
            "HOST": unquote(parts.hostname or ""),
            "PORT": str(port or ""),
            "OPTIONS": dict(parse_qsl(parts.query)),
            # Threads keep their connection, and test it first in case the server restarted.
            "CONN_MAX_AGE": None,
            "CONN_HEALTH_CHECKS": True,
        }
    raise UsageError(
        f"DATABASE_URL has the scheme {parts.scheme or 'none'!r} and the database {name!r}; "
        "set it to sqlite:///FILE or postgresql://NAME:PASSWORD@HOST:PORT/DATABASE"
    )


def _build_sqlite_settings(file: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(file),
        "CONN_MAX_AGE": None,  # threads keep their connection: opening one costs more than a view
        "OPTIONS": {
            "timeout": _SQLITE_TIMEOUT,
            # Take the write lock when the transaction begins, where SQLite waits for it. A
            # transaction that first reads and then writes would fail at once instead.
            "transaction_mode": "IMMEDIATE",
            "init_command": _SQLITE_PRAGMAS,
        },
    }
