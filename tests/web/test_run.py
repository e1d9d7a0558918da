"""``idiolect play`` as a process: it starts without setup, survives a kill, and exits cleanly."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.parse
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
    """A running ``idiolect play``; its URL is read from its output."""

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
        """Return a response; the request waits in the socket's queue until the site runs."""
        return urllib.request.urlopen(self.address + path, timeout=120)

    def stop(self, with_signal: int) -> int:
        """Send a signal, wait until the site exits, and return its exit code."""
        self.process.send_signal(with_signal)
        code = self.process.wait(timeout=60)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds; fail after two minutes, since loaded machines are slow."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "the condition did not hold within 120 s"
        time.sleep(0.1)


def test_play_restarts_with_same_secret_after_kill(tmp_path: Path) -> None:
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
        wait_until(lambda: bool(psutil.Process(site.process.pid).children()))
        workers = psutil.Process(site.process.pid).children()
    finally:
        site.stop(signal.SIGKILL)
    # The job worker notices that its parent has ended; then a second site can start.
    wait_until(lambda: not any(worker.is_running() for worker in workers))
    again = Site(data, "--workers", "2")
    try:
        assert json.load(again.get("healthz")) == {"status": "ok"}
        assert (data / "secret.key").read_text() == secret
    finally:
        code = again.stop(signal.SIGINT)
    assert code == 0


@pytest.mark.finding("deleted-player-remains")
def test_play_stopped_leaves_one_complete_database_file(tmp_path: Path) -> None:
    site = Site(tmp_path)
    try:
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())

        def send_form(path: str, **fields: str) -> str:
            page = browser.open(site.address + path, timeout=120).read().decode()
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
            assert token is not None, page
            form = urllib.parse.urlencode(fields | {"csrfmiddlewaretoken": token[1]})
            return browser.open(site.address + path, form.encode()).read().decode()

        # One person leaves and one stays.
        password = "correct horse battery"
        send_form("sign-up/", username="quixotic", password=password)
        send_form("nyms/notice/")
        assert "You are deleted" in send_form("account/delete/", password=password)
        send_form("sign-up/", username="permanent", password=password)
    finally:
        assert site.stop(signal.SIGTERM) == 0
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert not {"site.sqlite3-wal", "site.sqlite3-shm"} & files.keys()
    assert b"permanent" in files["site.sqlite3"]
    assert not any(b"quixotic" in content for content in files.values())


def test_open_socket_with_port_in_use_suggests_next_port() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BusyError, match=rf"port {port}.*--port {port + 1}"):
            run._open_socket("127.0.0.1", port)


def test_open_socket_with_invalid_host_raises_usage_error() -> None:
    with pytest.raises(UsageError, match="--host no such host"):
        run._open_socket("no such host", 0)


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "localhost")])
def test_format_address_returns_url_that_opens(host: str, shown: str) -> None:
    with run._open_socket(host, 0) as listening:
        assert run._format_address(listening) == f"http://{shown}:{listening.getsockname()[1]}/"


def test_serve_without_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(MissingError, match=r"the site needs uvicorn; .*'idiolect\[web\]'"):
        run.serve()


@pytest.mark.finding("shared-rate-limit")
@pytest.mark.parametrize(
    ("hosts", "proxy", "noted"),
    [("https://a.example", "", True), ("https://a.example", "127.0.0.1", False), ("", "", False)],
)
def test_serve_notes_that_no_proxy_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hosts: str, proxy: str, noted: bool
) -> None:
    monkeypatch.setenv("IDIOLECT_HOME", "")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "")
    monkeypatch.setenv("IDIOLECT_HOSTS", hosts)
    monkeypatch.setenv("IDIOLECT_PROXY", proxy)
    monkeypatch.setattr(run, "prepare_site", lambda *names: None)
    monkeypatch.setattr(run, "_run_uvicorn", lambda listening, workers: None)
    monkeypatch.setattr(run.os, "umask", lambda mode: None)
    for block in ("_close_database", "_run_worker"):
        monkeypatch.setattr(run, block, contextlib.nullcontext)
    lines: list[str] = []
    run.serve(port=0, data=tmp_path, tell=lines.append)
    assert (run.NO_PROXY_NAMED in lines) == noted


def test_set_environment_passes_options_to_settings(
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


@pytest.mark.finding("moderators")
@pytest.mark.django_db
def test_prepare_site_makes_only_accounts_moderators(
    ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Earlier versions made moderators superusers.
    run.prepare_site((), ("ANN",))
    ann.refresh_from_db()
    assert ann.is_staff and ann.is_superuser
    run.prepare_site(("Ann",))
    ann.refresh_from_db()
    assert ann.is_staff and not ann.is_superuser
    with pytest.raises(UsageError, match="both"):
        run.prepare_site(("ann",), ("ANN",))
    guest = User.objects.create_guest()
    for name in ("unknown", guest.username):
        with pytest.raises(MissingError, match=f"there is no account named '{name}'"):
            run.prepare_site((name,))
