"""The requests of a flood against a running ``idiolect play``: others are served meanwhile."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.game_live_server import serve_site
from support.live_site import build_get, read_all, read_response

TOKEN = "a" * 32
"""A CSRF token: the site compares that of the form with that of the cookie."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A site behind a proxy, which says which address a request comes from; and its log."""
    folder = tmp_path_factory.mktemp("flooded")
    variables = {"IDIOLECT_PROXY": "127.0.0.1", "IDIOLECT_REQUEST_SECONDS": "2"}
    with (
        (folder / "log").open("w") as log,
        serve_site(folder / "site", variables=variables, log=log) as address,
    ):
        # The first request waits until the site runs.
        urllib.request.urlopen(f"{address}/healthz", timeout=120).close()
        yield address, folder / "log"


def connect(address: str) -> socket.socket:
    """Return a new connection to the site."""
    where = urlsplit(address)
    assert where.hostname and where.port
    return socket.create_connection((where.hostname, where.port), timeout=60)


def sign_in(address: str, visitor: str, name: str) -> int:
    """Try a wrong password from the address of a visitor; return the status."""
    form = f"csrfmiddlewaretoken={TOKEN}&username={name}&password=wrong".encode()
    headers = [
        "POST /sign-in/ HTTP/1.1",
        "Host: localhost",
        f"X-Forwarded-For: {visitor}",
        f"Cookie: csrftoken={TOKEN}",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(form)}",
    ]
    with connect(address) as connection:
        connection.sendall("\r\n".join([*headers, "", ""]).encode() + form)
        return int(read_response(connection).split()[1])


@pytest.mark.finding("password-memory", "slow-requests")
def test_flood_of_sign_ins_and_half_requests_does_not_stop_others(
    running: tuple[str, Path],
) -> None:
    address, _ = running
    half_sent = [connect(address) for _ in range(100)]
    for connection in half_sent:
        connection.sendall(
            b"POST /sign-in/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
        )
    with ThreadPoolExecutor(16) as threads:
        # Each of two addresses guesses passwords of one account: six tries, then it must wait.
        tries: list[Any] = [
            threads.submit(sign_in, address, f"192.0.2.{n % 2}", f"name{n % 2}") for n in range(20)
        ]
        with connect(address) as connection:
            for _ in range(5):
                connection.sendall(build_get(path="/healthz", close=False))
                assert read_response(connection).startswith(b"HTTP/1.1 200 ")
        answers = [one.result() for one in tries]
    assert set(answers) == {422, 429}
    for connection in half_sent:
        assert read_all(connection).startswith(b"HTTP/1.1 408 ")
        connection.close()


@pytest.mark.finding("host-header-log", "websocket")
def test_bad_requests_leave_almost_no_log(running: tuple[str, Path]) -> None:
    address, log = running
    requests = [
        build_get(path="/sign-in/").replace(b"localhost", b"\xff\x00" * 2_000),
        build_get(path="/sign-in/").replace(b"localhost", b"x" * 8_000),
        build_get(f"User-Agent: {'x' * 8_000}", path=f"/{'%0a' * 2_000}"),
        build_get("Connection: Upgrade", "Upgrade: websocket", close=False),
        b"\x16\x03\x01" * 1_000,
    ]
    for request in requests * 10:
        with connect(address) as connection:
            connection.sendall(request)
            assert 400 <= int(read_all(connection).split()[1]) < 500
    assert log.read_text() == ""
