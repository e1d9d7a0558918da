"""The ASGI application: which messages it receives and sends, as uvicorn sees them."""

from __future__ import annotations

import asyncio
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
