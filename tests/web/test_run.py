"""``idiolect play`` as a process: it comes up by itself, survives a kill, and ends cleanly."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from idiolect.errors import BusyError, MissingError, UsageError
from idiolect.web import run
from idiolect.web.accounts.models import User


class Site:
    """A running site; its address is read from what it says."""

    def __init__(self, data: Path, *options: str) -> None:
        left_out = ("DJANGO_SETTINGS_MODULE", "IDIOLECT_HOME", "IDIOLECT_HOSTS", "DATABASE_URL")
        inherited = {k: v for k, v in os.environ.items() if k not in left_out}
        command = [sys.executable, "-m", "idiolect", "play", "--port", "0", "--no-browser"]
        self.process = subprocess.Popen(
            [*command, "--data", str(data), *options],
            env=inherited | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        found = re.search(r"http://\S+/", first)
        if not found:
            raise AssertionError(self.process.communicate())
        self.address = found[0]

    def get(self, path: str) -> Any:
        """An answer; the request waits in the port's queue until the site is up."""
        return urllib.request.urlopen(self.address + path, timeout=120)

    def end(self, how: int) -> int:
        """Send a signal, and wait for the end."""
        self.process.send_signal(how)
        code = self.process.wait(timeout=60)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code


def until(what: Callable[[], bool]) -> None:
    """Wait; a machine under load is slow."""
    deadline = time.monotonic() + 120
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.1)


def test_play_is_one_command_and_bears_a_kill(tmp_path: Path) -> None:
    data = tmp_path / "new" / "site"
    site = Site(data)
    workers: list[psutil.Process] = []
    try:
        answer = site.get("healthz")
        assert json.load(answer) == {"status": "ok"}
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Server"] is None
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in data.iterdir()}
        assert {"secret.key", "site.sqlite3"} <= modes.keys()
        assert set(modes.values()) == {0o600}
        secret = (data / "secret.key").read_text()
        until(lambda: bool(psutil.Process(site.process.pid).children()))
        workers = psutil.Process(site.process.pid).children()
    finally:
        site.end(signal.SIGKILL)
    until(lambda: not any(worker.is_running() for worker in workers))
    again = Site(data, "--workers", "2")
    try:
        assert json.load(again.get("healthz")) == {"status": "ok"}
        assert (data / "secret.key").read_text() == secret
    finally:
        code = again.end(signal.SIGINT)
    assert code == 0


def test_a_taken_port_says_so() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BusyError, match=rf"port {port}.*--port {port + 1}"):
            run._open_socket("127.0.0.1", port)


def test_a_host_that_is_none_says_so() -> None:
    with pytest.raises(UsageError, match="--host no such host"):
        run._open_socket("no such host", 0)


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "localhost")])
def test_the_address_can_be_opened(host: str, shown: str) -> None:
    with run._open_socket(host, 0) as listening:
        assert run._format_address(listening) == f"http://{shown}:{listening.getsockname()[1]}/"


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(MissingError, match=r"the site needs uvicorn; .*'idiolect\[web\]'"):
        run.serve()


def test_what_the_caller_says_reaches_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IDIOLECT_HOME", "IDIOLECT_HOSTS", "DJANGO_SETTINGS_MODULE"):
        monkeypatch.setenv(name, "")
    run._set_environment("192.0.2.7", tmp_path)
    assert os.environ["IDIOLECT_HOME"] == str(tmp_path)
    assert "192.0.2.7" in os.environ["IDIOLECT_HOSTS"].split()
    monkeypatch.setenv("IDIOLECT_HOSTS", "nyms.example.org")
    run._set_environment("192.0.2.7", None)
    assert os.environ["IDIOLECT_HOSTS"] == "nyms.example.org"
    monkeypatch.setenv("IDIOLECT_HOSTS", "*")
    with pytest.raises(UsageError, match="IDIOLECT_HOSTS"):
        run._set_environment("192.0.2.7", None)


@pytest.mark.django_db
def test_moderators_are_made_of_accounts(ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    run.prepare_site(("ANN",))
    ann.refresh_from_db()
    assert ann.is_staff and ann.is_superuser
    guest = User.objects.create_guest()
    for name in ("nobody", guest.username):
        with pytest.raises(MissingError, match=f"nobody is called '{name}'"):
            run.prepare_site((name,))
