"""The site's secret key: created on the first start, in a file that only its owner can read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from idiolect.errors import IntegrityError, UsageError
from idiolect.storage.files import explain_os_errors

SECRET_FILE = "secret.key"
_SECRET_BYTES = 50
_GROUP_AND_OTHERS = 0o077
"""The permission bits of all users but the owner."""


def load_secret_key(folder: Path) -> str:
    """Return the secret key in ``folder``; create it if there is none.

    Processes that start at the same time get the same key. Raises UsageError if other users may
    read the file, IntegrityError if the key is too short.
    """
    path = folder / SECRET_FILE
    if not path.exists():
        _create_secret(path)
    with explain_os_errors("read", path):
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    if os.name == "posix" and mode & _GROUP_AND_OTHERS:
        raise UsageError(
            f"other users can read {path} (mode {mode & 0o777:03o}): with this key they can sign "
            f"in to any account. Run `chmod 600 {path}`, or delete it (each person then has to "
            "sign in again)"
        )
    if len(text) < _SECRET_BYTES:
        raise IntegrityError(
            f"{path} is too short for a secret key; delete it and start the site again"
        )
    return text


def _create_secret(path: Path) -> None:
    """Write a new secret key; if another process was faster, keep its key."""
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    with explain_os_errors("write", path):
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as stream:
                stream.write(secrets.token_urlsafe(_SECRET_BYTES) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            try:
                os.link(part, path)  # unlike a rename, never replaces a key in use
            except FileExistsError:
                return
        finally:
            part.unlink()
