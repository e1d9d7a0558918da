"""The server's protocol: requests that are slow, too large or no HTTP, and too many connections.

Each limit that must strike is short, and each that must not is long; no test measures a time.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings

from support.live_site import (
    LiveServer,
    build_get,
    capture_site_log,
    read_all,
    read_response,
    run_live_site,
    wait_until,
)

SECURITY_HEADERS = (b"content-security-policy: ", b"x-content-type-options: nosniff")
POST = b"POST /sign-in/ HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveServer]:
    """A server with the default limits, which a test does not reach by time."""
    with run_live_site(monkeypatch) as server:
        yield server


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveServer]:
    """A server that gives a request 0.3 seconds to arrive."""
    with run_live_site(monkeypatch, request_seconds=0.3) as server:
        yield server


def check_refusal(answer: bytes, status: int) -> None:
    """Check status and headers of an answer, and that nothing follows it."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert all(header in head for header in SECURITY_HEADERS)
    assert b"connection: close" in head and b"content-length: %d" % len(body) in head


def test_server_answers_page_and_closes(live: LiveServer) -> None:
    answer = live.ask(build_get())
    assert answer.startswith(b"HTTP/1.1 200 ") and SECURITY_HEADERS[0] in answer
    assert b"\r\nserver:" not in answer.lower()


@pytest.mark.finding("slow-requests")
@pytest.mark.parametrize(
    "part",
    [
        b"GET / HTTP/1.1\r\nHost: loc",
        POST + b"Content-Length: 10\r\n\r\nuser",
        POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ],
)
def test_server_closes_half_sent_request(hasty: LiveServer, part: bytes) -> None:
    check_refusal(hasty.ask(part), 408)


@pytest.mark.finding("slow-requests")
@pytest.mark.parametrize("part", [b"", b"\r\n"])
def test_server_closes_connection_without_request(hasty: LiveServer, part: bytes) -> None:
    assert hasty.ask(part) == b""
    with hasty.connect() as connection:
        connection.sendall(build_get(close=False))
        assert read_response(connection).startswith(b"HTTP/1.1 200 ")
        # An empty line is not the next request, but ends uvicorn's timeout between requests.
        connection.sendall(b"\r\n")
        assert read_all(connection) == b""


@pytest.mark.finding("slow-requests")
def test_server_closes_request_that_trickles(hasty: LiveServer) -> None:
    with hasty.connect() as connection:
        connection.settimeout(0.05)
        connection.sendall(build_get("X-Slow: ")[:-10])
        answer = b""
        # One byte each time: the deadline is for the whole request, and not for each part.
        for _ in range(400):
            try:
                answer = connection.recv(65536)
                break
            except TimeoutError:
                connection.sendall(b"x")
        check_refusal(answer + read_all(connection), 408)


@pytest.mark.finding("slow-requests")
def test_server_closes_many_half_sent_requests(hasty: LiveServer) -> None:
    connections = [hasty.connect() for _ in range(200)]
    for connection in connections:
        connection.sendall(b"GET / HTTP/1.1\r\n")
    # Others are served meanwhile.
    assert hasty.ask(build_get()).startswith(b"HTTP/1.1 200 ")
    for connection in connections:
        check_refusal(read_all(connection), 408)
        connection.close()
    wait_until(lambda: hasty.connection_count == 0)


def test_server_keeps_connection_between_requests(hasty: LiveServer) -> None:
    with hasty.connect() as connection:
        for _ in range(3):
            connection.sendall(build_get(close=False))
            assert read_response(connection).startswith(b"HTTP/1.1 200 ")


def test_server_closes_idle_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    with run_live_site(monkeypatch, idle_seconds=0.2) as server:
        assert server.ask(build_get(close=False)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.finding("slow-requests")
@pytest.mark.parametrize(
    "request_bytes",
    [
        build_get(f"X-Long: {'x' * 20_000}"),
        build_get(f"X-Endless: {'x' * 300_000}")[:-30],
        build_get(*(f"X-{n}: x" for n in range(101))),
        build_get(path="/" + "x" * 20_000),
        b"GET /" + b"x" * 300_000,
        b"\r\n" * 150_000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-Trailer: x\r\n" * 101,
    ],
    ids=["long", "endless", "many", "address", "endless-address", "empty-lines", "trailers"],
)
def test_server_refuses_large_head(live: LiveServer, request_bytes: bytes) -> None:
    check_refusal(live.ask(request_bytes), 431)


def test_server_accepts_head_of_a_browser(live: LiveServer) -> None:
    headers = [f"X-{n}: {'x' * 100}" for n in range(40)]
    assert live.ask(build_get(*headers)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.finding("response-headers")
def test_server_refuses_large_body(live: LiveServer) -> None:
    size = settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1
    with live.connect() as connection:
        connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % size)
        answer = read_response(connection)
    assert answer.startswith(b"HTTP/1.1 413 ") and SECURITY_HEADERS[0] in answer
    chunk = b"%x\r\n" % 65536 + bytes(65536) + b"\r\n"
    with live.connect() as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n" + 5 * chunk)
        answer = read_response(connection)
        assert answer.startswith(b"HTTP/1.1 413 ") and SECURITY_HEADERS[0] in answer
        # A client that does not stop is cut off.
        with pytest.raises(OSError):
            connection.sendall(1000 * chunk)


@pytest.mark.finding("slow-requests")
def test_server_closes_body_after_it_was_refused(hasty: LiveServer) -> None:
    answer = hasty.ask(POST + b"Content-Length: 999999999\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 413 ") and answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.finding("response-headers")
@pytest.mark.parametrize("junk", [b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET / SPDY/9\r\n\r\n"])
def test_server_answers_400_to_what_is_no_http(live: LiveServer, junk: bytes) -> None:
    check_refusal(live.ask(junk), 400)


WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.mark.finding("websocket")
@pytest.mark.parametrize("path", ["/", "/nyms/", "/no-such-page/"])
def test_server_refuses_websocket(live: LiveServer, path: str) -> None:
    with capture_site_log() as log:
        check_refusal(live.ask(build_get(*WEBSOCKET, path=path, close=False)), 403)
    assert log.getvalue() == ""


@pytest.mark.finding("response-headers")
@pytest.mark.parametrize(
    ("second", "status"),
    [
        (build_get(*WEBSOCKET, close=False), 403),
        (build_get(f"X-Long: {'x' * 20_000}"), 431),
        (b"GET http://[ HTTP/1.1\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nno length\r\n", 400),
    ],
)
def test_server_answers_bad_request_after_a_good_one(
    live: LiveServer, second: bytes, status: int
) -> None:
    with live.connect() as connection:
        connection.sendall(build_get(close=False))
        assert read_response(connection).startswith(b"HTTP/1.1 200 ")
        connection.sendall(second)
        check_refusal(read_all(connection), status)


def test_server_ignores_other_upgrades(live: LiveServer) -> None:
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk")
    with live.connect() as connection:
        connection.sendall(build_get(*upgrade, close=False))
        assert read_response(connection).startswith(b"HTTP/1.1 200 ")


@pytest.mark.finding("slow-requests")
def test_server_refuses_connections_of_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    with run_live_site(monkeypatch, connections_per_client=3) as server:
        held = [server.connect() for _ in range(3)]
        wait_until(lambda: server.connection_count == 3)
        check_refusal(server.ask(b""), 503)
        held.pop().close()
        wait_until(lambda: server.connection_count == 2)
        assert server.ask(build_get()).startswith(b"HTTP/1.1 200 ")
        for connection in held:
            connection.close()


@pytest.mark.finding("slow-requests")
def test_server_closes_longest_quiet_connection_for_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with run_live_site(monkeypatch, connections=3) as server:
        held = [server.connect() for _ in range(3)]
        wait_until(lambda: server.connection_count == 3)
        held[0].sendall(b"GET / HTTP/1.1\r\n")  # half a request keeps no place
        assert server.ask(build_get()).startswith(b"HTTP/1.1 200 ")
        assert read_all(held[0]) == b""
        wait_until(lambda: server.connection_count == 2)
        for connection in held:
            connection.close()


@pytest.mark.finding("slow-requests")
def test_server_closes_connection_that_pipelines(live: LiveServer) -> None:
    with live.connect() as connection:
        connection.sendall(build_get(close=False) * 5)
        wait_until(lambda: connection.recv(1_000_000, socket.MSG_PEEK).count(b"HTTP/1.1 200 ") == 5)
        connection.sendall(build_get(close=False) * 200)
        assert read_all(connection).count(b"HTTP/1.1 ") < 200


async def send_large_answer(scope: Any, receive: Any, send: Any) -> None:
    """ASGI application whose response is larger than the buffers of the system."""
    size = 30_000_000
    length = (b"content-length", str(size).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": bytes(size)})


@pytest.mark.finding("slow-requests")
@pytest.mark.parametrize("close", [True, False])
def test_server_closes_client_that_does_not_read(
    monkeypatch: pytest.MonkeyPatch, close: bool
) -> None:
    with (
        run_live_site(monkeypatch, app=send_large_answer, stall_seconds=0.2) as server,
        server.connect() as connection,
    ):
        connection.sendall(build_get(close=close))
        wait_until(lambda: server.server.server_state.total_requests == 1)
        wait_until(lambda: server.connection_count == 0)
        assert len(read_all(connection)) < 30_000_000


def test_server_waits_for_client_that_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    with run_live_site(monkeypatch, app=send_large_answer, stall_seconds=5.0) as server:
        assert len(server.ask(build_get())) > 30_000_000


async def say_client(scope: Any, receive: Any, send: Any) -> None:
    """ASGI application that answers with the address of its client."""
    host = scope["client"][0].encode()
    length = (b"content-length", str(len(host)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": host})


@pytest.mark.finding("shared-rate-limit")
@pytest.mark.parametrize(
    ("proxies", "client"), [((), b"127.0.0.1"), (("127.0.0.1/32",), b"203.0.113.9")]
)
def test_server_on_ipv6_socket_sees_ipv4_clients_and_proxies(
    monkeypatch: pytest.MonkeyPatch, proxies: tuple[str, ...], client: bytes
) -> None:
    from ipaddress import ip_network

    from idiolect.web import run

    open_socket = run._open_socket
    monkeypatch.setattr(settings, "PROXIES", tuple(map(ip_network, proxies)))
    monkeypatch.setattr(run, "_open_socket", lambda host, port: open_socket("::", port))
    with run_live_site(monkeypatch, app=say_client) as server:
        answer = server.ask(build_get("X-Forwarded-For: 203.0.113.9"))
    assert answer.endswith(b"\r\n\r\n" + client)


@pytest.mark.finding("slow-requests")
def test_server_does_not_limit_connections_of_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    from ipaddress import ip_network

    monkeypatch.setattr(settings, "PROXIES", (ip_network("127.0.0.0/8"),))
    with run_live_site(monkeypatch, connections_per_client=2) as server:
        held = [server.connect() for _ in range(5)]
        wait_until(lambda: server.connection_count == 5)
        assert server.ask(build_get()).startswith(b"HTTP/1.1 200 ")
        for connection in held:
            connection.close()
