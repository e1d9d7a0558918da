"""The site's secret: made on the first start, kept in a file that only its owner can read.

Knows files and random bytes; knows nothing of what Django signs with them.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from idiolect.errors import IntegrityError, UsageError
from idiolect.storage.files import explain_os_errors

SECRET_FILE = "secret.key"
_SECRET_BYTES = 50
_OTHERS_MODE = 0o077


def load_secret_key(folder: Path) -> str:
    """The secret in ``folder``, made if there is none; every process gets the same one.

    Raises UsageError where others may read the file, IntegrityError where it is cut short.
    """
    path = folder / SECRET_FILE
    if not path.exists():
        _create_secret(path)
    with explain_os_errors("read", path):
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii").strip()
    if os.name == "posix" and mode & _OTHERS_MODE:
        raise UsageError(
            f"{path} can be read by others (mode {mode & 0o777:03o}): whoever has it can sign in "
            f"as anybody; run `chmod 600 {path}`, or delete it (everyone then signs in anew)"
        )
    if len(text) < _SECRET_BYTES:
        raise IntegrityError(f"{path} is too short for a secret; delete it and start again")
    return text


def _create_secret(path: Path) -> None:
    """Write a new secret; where another process was quicker, theirs stands."""
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    with explain_os_errors("write", path):
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as stream:
                stream.write(secrets.token_urlsafe(_SECRET_BYTES) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            try:
                os.link(part, path)  # unlike a rename it never replaces a secret in use
            except FileExistsError:
                return
        finally:
            part.unlink()
