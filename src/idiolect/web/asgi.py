"""The site as an ASGI application, for uvicorn: ``idiolect.web.asgi:application``.

Its pages are synchronous code. Django's own ASGI handler would run each request in a new thread
with a new connection to the database, which costs as much as the page; here a few threads that stay
run them one after the other, each with a connection that stays. A request changes threads once
each way: it is read whole before its page begins, and its page is whole before it is sent.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, cast

import django
from django.conf import settings
from django.core import signals
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.urls import set_script_prefix

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

THREADS = 8
"""Pages at once: they wait for little, and more would only wait for each other's writing."""


class DjangoApp(BaseHandler):
    """Django's synchronous pages behind ASGI."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="page")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what is no HTTP, or breaks off, gets no answer."""
        if scope["type"] != "http":
            return
        body = await _read_body(receive)
        if body is None:
            return
        if len(body) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
            await send({"type": "http.response.start", "status": 413})
            await send({"type": "http.response.body"})
            return
        loop = asyncio.get_running_loop()
        status, headers, page = await loop.run_in_executor(
            self._threads, self._render_page, scope, body
        )
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": page})

    def _render_page(
        self, scope: Scope, body: bytes
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        set_script_prefix(scope.get("root_path") or "/")
        signals.request_started.send(sender=type(self), scope=scope)
        response = self.get_response(ASGIRequest(scope, BytesIO(body)))
        headers = [
            (name.lower().encode("ascii"), value.encode("latin-1"))
            for name, value in response.items()
        ]
        for cookie in response.cookies.values():
            headers.append((b"set-cookie", cookie.output(header="").strip().encode("ascii")))
        page = b"".join(cast("Iterable[bytes]", response))
        response.close()  # which says that the request is finished
        return response.status_code, headers, page


async def _read_body(receive: Receive) -> bytes | None:
    """The body, cut off where it is too long for any page; None if the browser has gone."""
    parts: list[bytes] = []
    size, most = 0, settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most or not message.get("more_body", False):
            return b"".join(parts)


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "idiolect.web.settings")
django.setup(set_prefix=False)
application = DjangoApp()
