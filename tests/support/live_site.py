"""The site's server in a thread of the test, on a free port of the loopback address."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from idiolect.web.config.limits import ConnectionLimits
from idiolect.web.edge.logs import OneLineFormatter

STATIC = "/static/site/site.css"
"""A page that needs no database."""


class LiveServer:
    """A running server with the options of ``idiolect play``."""

    def __init__(self, server: uvicorn.Server, port: int) -> None:
        self.server, self.port = server, port

    @property
    def connection_count(self) -> int:
        """The number of open connections, as the server counts them."""
        return len(self.server.server_state.connections)

    def connect(self) -> socket.socket:
        """Return a new connection; reading from it fails after a minute."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def ask(self, request: bytes) -> bytes:
        """Send bytes on a new connection and return all that comes back until it is closed."""
        with self.connect() as connection:
            connection.sendall(request)
            return read_all(connection)


@contextlib.contextmanager
def run_live_site(
    monkeypatch: pytest.MonkeyPatch, app: Any = None, **limits: Any
) -> Iterator[LiveServer]:
    """Serve the site, or ``app``, with these limits during the block."""
    from django.conf import settings

    from idiolect.web import run

    monkeypatch.setattr(settings, "LIMITS", ConnectionLimits(**limits))
    config = run.build_server_config()
    config.app = app or config.app
    server = uvicorn.Server(config)
    with run._open_socket("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            wait_until(lambda: server.started)
            yield LiveServer(server, port)
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


@contextlib.contextmanager
def capture_site_log() -> Iterator[io.StringIO]:
    """Yield a stream that receives what the site writes to its log during the block."""
    handlers = logging.getLogger("django").handlers  # pytest adds some of its own
    handler = next(h for h in handlers if isinstance(h.formatter, OneLineFormatter))
    assert isinstance(handler, logging.StreamHandler)
    log = io.StringIO()
    usual = handler.setStream(log)
    try:
        yield log
    finally:
        handler.setStream(usual)


def read_all(connection: socket.socket) -> bytes:
    """Return all bytes that arrive until the server closes the connection."""
    parts: list[bytes] = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def read_response(connection: socket.socket) -> bytes:
    """Return one response; its headers must say how long it is."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += receive_part(connection)
    head, _, body = found.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += receive_part(connection)
    return head + b"\r\n\r\n" + body


def receive_part(connection: socket.socket) -> bytes:
    """Return the bytes that have arrived; fail if the server has closed the connection."""
    part = connection.recv(65536)
    assert part, "the server closed the connection"
    return part


def wait_until(condition: Callable[[], bool]) -> None:
    """Poll until the condition holds; fail after a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the condition did not hold within a minute"
        time.sleep(0.01)


def build_get(*headers: str, path: str = STATIC, close: bool = True) -> bytes:
    """Return the bytes of a GET request; ``close`` asks the server to close the connection."""
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", *headers]
    if close:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode()
