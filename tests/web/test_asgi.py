"""The ASGI application: which messages it receives and sends, as uvicorn sees them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from django.conf import settings

from idiolect.web.asgi import DjangoApp

SECURITY_HEADERS = (
    b"content-security-policy",
    b"permissions-policy",
    b"cross-origin-resource-policy",
    b"cross-origin-opener-policy",
    b"x-frame-options",
    b"x-content-type-options",
    b"referrer-policy",
)


def build_scope(
    path: str = "/static/site/site.css", method: str = "GET", headers: Sequence[Any] = ()
) -> dict[str, Any]:
    """Return the ASGI scope of a request."""
    return {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost"), *headers],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 8000),
        "scheme": "http",
    }


def send_request(scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the messages that answer a request whose body arrives in ``messages``."""
    sent: list[dict[str, Any]] = []
    waiting = list(messages or [{"type": "http.request"}])

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(DjangoApp()(scope, receive, send))
    return sent


def build_part(body: bytes, *, more: bool) -> dict[str, Any]:
    """Return the ASGI message with a part of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


def test_django_app_sends_complete_response() -> None:
    start, body = send_request(build_scope())
    assert start["status"] == 200
    headers = dict(start["headers"])
    assert headers[b"content-type"].startswith(b"text/css")
    assert int(headers[b"content-length"]) == len(body["body"]) > 0


def test_django_app_reads_body_in_parts_and_sends_cookies(db: None) -> None:
    form = (b"content-type", b"application/x-www-form-urlencoded")
    long = (b"content-length", b"13")
    scope = build_scope("/sign-in/", "POST", [form, long])
    start, _ = send_request(
        scope, build_part(b"username", more=True), build_part(b"=anna", more=False)
    )
    assert start["status"] == 403  # the view ran and refused the form, which has no CSRF token
    start, body = send_request(build_scope("/sign-in/"))
    cookies = [value for name, value in start["headers"] if name == b"set-cookie"]
    assert start["status"] == 200 and b"csrfmiddlewaretoken" in body["body"]
    assert len(cookies) == 1 and cookies[0].startswith(b"csrftoken=")


def test_django_app_stops_reading_too_long_body() -> None:
    half = bytes(settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2 + 1)
    parts = [build_part(half, more=True)] * 9
    start, _ = send_request(build_scope("/sign-in/", "POST"), *parts)
    assert start["status"] == 413


@pytest.mark.finding("response-headers")
def test_django_app_refuses_announced_body_unread_with_security_headers() -> None:
    long = (b"content-length", b"%d" % (settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1))
    start, body = send_request(build_scope("/sign-in/", "POST", [long]), {"type": "never read"})
    assert start["status"] == 413 and body["body"] == b"The request is too large."
    plain = dict(start["headers"])
    page = dict(send_request(build_scope())[0]["headers"])
    for name in SECURITY_HEADERS:
        assert plain[name] == page[name], name
    assert plain[b"cache-control"] == b"no-store"


@pytest.mark.finding("websocket")
def test_django_app_refuses_websocket() -> None:
    sent = send_request({"type": "websocket"}, {"type": "websocket.connect"})
    assert sent == [{"type": "websocket.close"}]


def test_django_app_acknowledges_lifespan() -> None:
    kinds = ["lifespan.startup", "lifespan.shutdown"]
    sent = send_request({"type": "lifespan"}, *({"type": kind} for kind in kinds))
    assert [message["type"] for message in sent] == [f"{kind}.complete" for kind in kinds]


@pytest.mark.finding("response-headers")
def test_django_app_answers_failure_outside_of_views(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Any, scope: Any, body: Any) -> Any:
        raise RuntimeError("no response")

    monkeypatch.setattr(DjangoApp, "_render_page", fail)
    start, body = send_request(build_scope())
    assert start["status"] == 500 and body["body"] == b"Something went wrong."
    assert dict(start["headers"]).keys() >= set(SECURITY_HEADERS)


def test_django_app_does_not_answer_disconnected_client() -> None:
    assert send_request(build_scope(), {"type": "http.disconnect"}) == []


class GatedApp(DjangoApp):
    """The site, but each sign-in waits in its thread until the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def _render_page(self, scope: Any, body: bytes) -> Any:
        if scope["method"] == "POST":
            self.gate.wait()
            return 422, [], b""
        return super()._render_page(scope, body)

    async def get_status(self, address: str, path: str, method: str) -> int:
        """Return the status of the answer to a request from that address."""
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = build_scope(path, method) | {"client": (address, 40000)}
        await self(scope, receive, send)
        return sent[0]["status"]


@pytest.mark.finding("password-memory")
def test_django_app_with_full_password_queue_serves_others() -> None:
    async def run() -> None:
        app = GatedApp()
        loop = asyncio.get_running_loop()

        def sign_in(address: str) -> asyncio.Task[int]:
            return loop.create_task(app.get_status(address, "/sign-in/", "POST"))

        # One address fills its places; its next tries are refused at once.
        flood = [sign_in("192.0.2.1") for _ in range(100)]
        refused, _ = await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result() for task in refused} == {503}
        # Other pages and sign-ins from other addresses are accepted.
        assert await app.get_status("192.0.2.1", "/static/site/site.css", "GET") == 200
        others = [sign_in(f"198.51.100.{n}") for n in range(5)]
        app.gate.set()
        assert await asyncio.gather(*others) == [422] * 5
        answers = await asyncio.gather(*flood)
        assert answers.count(422) == 34 and answers.count(503) == 66
        app.stop_threads()

    asyncio.run(run())
