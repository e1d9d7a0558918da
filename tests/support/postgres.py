"""A PostgreSQL server for the tests: a new one in a temporary folder, on loopback, gone at the end.

Started from the binaries that are installed (Debian's package ``postgresql``), as a user that is
not root, since it refuses that. Knows nothing of Django.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",  # the data is gone in a minute anyway
    "full_page_writes": "off",
    "max_connections": "60",
}


def binaries() -> Path | None:
    """The folder of ``initdb`` and ``pg_ctl``; of the newest where there are several."""
    found = shutil.which("pg_ctl")
    if found and (Path(found).resolve().parent / "initdb").exists():
        return Path(found).resolve().parent
    known = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = sorted(known, key=lambda path: float(path.parts[-3]))
    return newest[-1].parent if newest else None


@contextlib.contextmanager
def server(programs: Path) -> Generator[str]:
    """A running server; yields the address of a database in it, as ``DATABASE_URL`` takes it."""
    folder = Path(tempfile.mkdtemp(prefix="idiolect-postgres-"))
    user = _somebody()
    try:
        password = secrets.token_hex(16)
        (folder / "password").write_text(password)
        if user:
            for path in (folder, folder / "password"):
                os.chown(path, user["user"], user["group"])
        data, port = folder / "data", _free_port()
        _run([str(programs / "initdb"), "-D", str(data), "-U", "tests", "-A", "scram-sha-256",
              f"--pwfile={folder / 'password'}", "-E", "UTF8", "--no-sync"], user)  # fmt: skip
        options = " ".join(f"-c {name}='{value}'" for name, value in _SETTINGS.items())
        control = [str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log")]
        _run([*control, "-o", f"-p {port} {options}", "start"], user)
        try:
            yield f"postgresql://tests:{password}@127.0.0.1:{port}/postgres"
        finally:
            _run([*control, "-m", "immediate", "stop"], user)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _somebody() -> dict[str, Any]:
    """As whom to run: ourselves, unless that is root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise RuntimeError("there is no user 'postgres' or 'nobody' to run PostgreSQL as")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(command: Sequence[str], user: dict[str, Any]) -> None:
    # No pipes: the server inherits them, and reading them would wait for its end.
    with tempfile.TemporaryFile() as said:
        streams = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
        done = subprocess.run(command, cwd="/", check=False, **streams, **user)
        said.seek(0)
        assert done.returncode == 0, said.read().decode()
