"""``DATABASE_URL`` as Django's settings: SQLite in a file, or PostgreSQL. Opens no connection."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from idiolect.errors import UsageError

_SQLITE_TIMEOUT = 20
"""Seconds a writer waits for another one; a page of the game writes for milliseconds."""

_SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL;"  # readers and a writer at once
    # Safe when the process is killed; a power cut may lose the last moments, never the file.
    "PRAGMA synchronous=NORMAL;"
    "PRAGMA cache_size=-16000;"
)


def parse_database_url(url: str, folder: Path) -> dict[str, Any]:
    """Django's description of the database at ``url``; of ``site.sqlite3`` in ``folder`` if empty.

    Takes ``sqlite:///FILE`` (four slashes for an absolute path) and
    ``postgresql://NAME:PASSWORD@HOST:PORT/DATABASE?sslmode=...``. Raises UsageError for others,
    without the password in its text.
    """
    if not url:
        return _build_sqlite_settings(folder / "site.sqlite3")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"DATABASE_URL cannot be read: {error}") from None
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
            "CONN_MAX_AGE": None,
            "CONN_HEALTH_CHECKS": True,
        }
    raise UsageError(
        f"DATABASE_URL has the scheme {parts.scheme or 'nothing'!r} and the database {name!r}; "
        "it is sqlite:///FILE or postgresql://NAME:PASSWORD@HOST:PORT/DATABASE"
    )


def _build_sqlite_settings(file: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(file),
        "CONN_MAX_AGE": None,  # threads keep their connection: opening one costs more than a page
        "OPTIONS": {
            "timeout": _SQLITE_TIMEOUT,
            # A transaction takes the right to write at its start, and waits for it there: one that
            # asks in its middle would fail at once instead of waiting.
            "transaction_mode": "IMMEDIATE",
            "init_command": _SQLITE_PRAGMAS,
        },
    }
