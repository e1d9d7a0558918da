"""The site as an ASGI application, for uvicorn: ``idiolect.web.asgi:application``.

The site's views are synchronous. Django's own ASGI handler runs each request in a new thread with a
new database connection, which costs as much as the view itself. This handler uses a fixed pool of
threads, each with a persistent connection. A request changes threads only twice: the event loop
reads the whole body, a thread renders the whole response, and the event loop sends it.
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
"""Number of requests rendered at the same time. Views rarely wait for I/O, and more threads would
only wait for each other's database writes."""


class DjangoApp(BaseHandler):
    """ASGI application that renders Django's synchronous views in a pool of threads."""

    def __init__(self) -> None:
        super().__init__()
        self.load_middleware()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="page")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request.

        Other kinds of connections (websocket, lifespan) and clients that disconnect get no answer;
        a body above ``DATA_UPLOAD_MAX_MEMORY_SIZE`` gets status 413.
        """
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

    def stop_threads(self) -> None:
        """Wait for the requests that are being rendered; no request can follow."""
        self._threads.shutdown()

    def _render_page(
        self, scope: Scope, body: bytes
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Return status, headers and content of the response; runs in a thread of the pool."""
        # Django's own handler does the same: URL prefix, signal, response.
        set_script_prefix(scope.get("root_path") or "/")
        signals.request_started.send(sender=type(self), scope=scope)
        response = self.get_response(ASGIRequest(scope, BytesIO(body)))
        headers = [
            (name.lower().encode("ascii"), value.encode("latin-1"))
            for name, value in response.items()
        ]
        # Django keeps cookies separate from the other headers.
        for cookie in response.cookies.values():
            headers.append((b"set-cookie", cookie.output(header="").strip().encode("ascii")))
        page = b"".join(cast("Iterable[bytes]", response))
        response.close()  # sends the signal request_finished
        return response.status_code, headers, page


async def _read_body(receive: Receive) -> bytes | None:
    """Return the request body; None if the client has disconnected.

    Stops reading once the body is longer than ``DATA_UPLOAD_MAX_MEMORY_SIZE`` bytes.
    """
    parts: list[bytes] = []
    size, max_size = 0, settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > max_size or not message.get("more_body", False):
            return b"".join(parts)


os.environ.setdefault("DJANGO_SETTINGS_MODULE", "idiolect.web.settings")
django.setup(set_prefix=False)
application = DjangoApp()
