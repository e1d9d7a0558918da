"""The site behind ASGI: what goes in and what comes out, as uvicorn sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from django.conf import settings

from idiolect.web.asgi import DjangoApp


def asked(
    path: str = "/static/site/site.css", method: str = "GET", headers: Sequence[Any] = ()
) -> dict[str, Any]:
    """A request, without its body."""
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


def answer(scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """What is sent for a request whose body comes in these messages."""
    sent: list[dict[str, Any]] = []
    waiting = list(messages or [{"type": "http.request"}])

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(DjangoApp()(scope, receive, send))
    return sent


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    """A part of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_page_goes_out_whole() -> None:
    start, body = answer(asked())
    assert start["status"] == 200
    headers = dict(start["headers"])
    assert headers[b"content-type"].startswith(b"text/css")
    assert int(headers[b"content-length"]) == len(body["body"]) > 0


def test_a_body_in_parts_is_read_whole_and_cookies_go_out(db: None) -> None:
    form = (b"content-type", b"application/x-www-form-urlencoded")
    long = (b"content-length", b"13")
    scope = asked("/sign-in/", "POST", [form, long])
    start, _ = answer(scope, part(b"username", more=True), part(b"=anna", more=False))
    assert start["status"] == 403  # its form has no token: the page was reached
    start, body = answer(asked("/sign-in/"))
    cookies = [value for name, value in start["headers"] if name == b"set-cookie"]
    assert start["status"] == 200 and b"csrfmiddlewaretoken" in body["body"]
    assert len(cookies) == 1 and cookies[0].startswith(b"csrftoken=")


def test_a_body_that_is_too_long_is_not_read_to_its_end() -> None:
    half = bytes(settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2 + 1)
    parts = [part(half, more=True)] * 9
    start, _ = answer(asked("/sign-in/", "POST"), *parts)
    assert start["status"] == 413


@pytest.mark.parametrize("kind", ["lifespan", "websocket"])
def test_what_is_no_page_is_left_alone(kind: str) -> None:
    assert answer({"type": kind}) == []


def test_a_browser_that_goes_is_not_answered() -> None:
    assert answer(asked(), {"type": "http.disconnect"}) == []
