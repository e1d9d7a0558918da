"""A temporary PostgreSQL server for tests, on the loopback address.

Uses the installed binaries (Debian's package ``postgresql``) and runs as a user other than root,
since PostgreSQL refuses to run as root.
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
    "fsync": "off",  # the data is temporary
    "full_page_writes": "off",
    "max_connections": "60",
}


def find_binaries() -> Path | None:
    """Return the folder of ``initdb`` and ``pg_ctl`` (newest version); None if not installed."""
    found = shutil.which("pg_ctl")
    if found and (Path(found).resolve().parent / "initdb").exists():
        return Path(found).resolve().parent
    known = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = sorted(known, key=lambda path: float(path.parts[-3]))
    return newest[-1].parent if newest else None


@contextlib.contextmanager
def run_server(programs: Path) -> Generator[str]:
    """Run a server during the block; yields the URL of its database, as for ``DATABASE_URL``."""
    folder = Path(tempfile.mkdtemp(prefix="idiolect-postgres-"))
    user = _find_unprivileged_user()
    try:
        password = secrets.token_hex(16)
        (folder / "password").write_text(password)
        if user:
            for path in (folder, folder / "password"):
                os.chown(path, user["user"], user["group"])
        # Create a cluster with one password-protected superuser, then start it on a free port.
        data, port = folder / "data", _find_free_port()
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


def _find_unprivileged_user() -> dict[str, Any]:
    """Return arguments of ``subprocess.run`` for a user to run as; none unless we are root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return {"user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}
    raise RuntimeError("there is no user 'postgres' or 'nobody' to run PostgreSQL as")


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _run(command: Sequence[str], user: dict[str, Any]) -> None:
    # A file instead of pipes: the server inherits them, and reading would wait until it ends.
    with tempfile.TemporaryFile() as output:
        streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
        result = subprocess.run(command, cwd="/", check=False, **streams, **user)
        output.seek(0)
        assert result.returncode == 0, output.read().decode()
